"""Progress bar of a training run in a terminal."""

from typing import IO, Any


class ProgressBar:
    """A callback for :func:`~earthtie_lite.train.fit`: a bar in a terminal, no output elsewhere.

    Parameters
    ----------
    epochs : int
        Total number of epochs.
    file : text stream, optional
        Where to draw the bar; by default standard error.

    Examples
    --------
    >>> bar = ProgressBar(epochs=50)  # et.fit(sample, config, callback=bar)
    """

    def __init__(self, epochs: int, file: IO[str] | None = None) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=epochs, unit="epoch", disable=None, file=file)

    def __call__(self, row: dict[str, Any]) -> None:
        """Advance the bar to the epoch of a history row."""
        self.bar.set_postfix(loss=f"{row['loss']:.3f}", held_out=f"{row['val_loss']:.3f}")
        self.bar.update(row["epoch"] + 1 - self.bar.n)
        if self.bar.n == self.bar.total:
            self.bar.close()
