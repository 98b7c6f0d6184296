"""Training by location tying: MELT, SALT and, with one modality, the two-modality baseline.

Each modality has its own places. Observations are mapped into the same space as their places, the
*tied space*, so the places tie the modalities to each other. MELT (multimodal embedding via
location tying) trains on all modalities in every batch, SALT (sequential alternating location
training) on one modality per epoch.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .config import TrainConfig, pick_device
from .coords import hold_out, stream, torch_seed
from .distributed import ALONE, Ranks, ranks
from .encoders import LocationEncoder
from .encodings import Encoding
from .losses import nt_xent
from .modalities import Modality, as_modalities
from .model import EarthTie
from .runs import Run, load, refuse_other_run
from .sample import PATCH_KM

if TYPE_CHECKING:
    import pandas as pd

Rows = dict[str, Any]  # row numbers (n,) by modality, an array or a tensor
RESIDENT = 0.5  # fraction of a GPU's free memory that places and features may take
COLUMNS = ["step", "epoch", "pairs", "modality", "loss", "val_loss", "logit_scale", "seconds"]
COLUMNS += ["grad_norm"]  # columns of a history


class Data(NamedTuple):
    """What each step reads, by modality: fixed encodings and frozen features."""

    basis: dict[str, Tensor]  # (N, E)
    features: dict[str, Tensor]  # (N, D)


Batches = Callable[[Rows, int, np.random.Generator, int], Iterator[Rows]]
Loss = Callable[[EarthTie, Data, Rows, TrainConfig, Ranks], Tensor]
Hook = Callable[[EarthTie, torch.optim.Optimizer, int, int], None]


# ------------------------------------------------------------------------------ MELT and SALT


def melt_batches(rows: Rows, size: int, rng: np.random.Generator, epoch: int = 0) -> Iterator[Rows]:
    """Return the batches of an epoch of MELT; each contains every modality.

    Parameters
    ----------
    rows : dict of str to array (n,)
        Rows to train on, by modality.
    size : int
        Pairs in a batch.
    rng : Generator
        Draws the order of the pairs.
    epoch : int
        Ignored here; SALT uses it.
    """
    return cut_batches(rows, split_evenly(size, rows), rng)


def salt_batches(rows: Rows, size: int, rng: np.random.Generator, epoch: int = 0) -> Iterator[Rows]:
    """Return the batches of an epoch of SALT: epoch e trains only modality e modulo K.

    Parameters are those of :func:`melt_batches`.
    """
    active = list(rows)[epoch % len(rows)]
    return cut_batches(rows, {active: size}, rng)


METHODS: dict[str, Batches] = {"melt": melt_batches, "salt": salt_batches}


def cut_batches(rows: Rows, shares: Mapping[str, int], rng: np.random.Generator) -> Iterator[Rows]:
    """Yield batches with ``shares`` pairs of each modality, in random order.

    An epoch takes the same number of pairs of each modality: as many as the smallest modality has,
    whether or not that one is in the batches.
    """
    order = {m: rng.permutation(r) for m, r in rows.items()}
    smallest, share = min(rows, key=lambda m: len(rows[m])), max(shares.values())
    if len(rows[smallest]) < share:
        raise ValueError(
            f"modality {smallest!r} has {len(rows[smallest])} pairs to train on, but a "
            f"batch needs {share}: lower batch_size or add more places"
        )
    for step in range(len(rows[smallest]) // share):
        yield {m: order[m][step * k : (step + 1) * k] for m, k in shares.items()}


def split_evenly(size: int, rows: Iterable[str]) -> dict[str, int]:
    """Return how many pairs of each modality make up a batch of MELT."""
    names = list(rows)
    share, left = divmod(size, len(names))
    if share < 1:
        raise ValueError(f"a batch of {size} pairs cannot hold {len(names)} modalities")
    return {m: share + (i < left) for i, m in enumerate(names)}


def tied_loss(
    model: EarthTie,
    data: Data,
    batch: Rows,
    config: TrainConfig,
    here: Ranks = ALONE,
    logit_scale: Tensor | None = None,
) -> Tensor:
    """Compute the loss of a batch of MELT (every modality) or of SALT (one modality).

    The pairs of all modalities are concatenated, so with several modalities the negatives of a
    pair also come from the other modalities.

    Parameters
    ----------
    model : EarthTie
    data : Data
    batch : dict of str to rows
        With several processes, this process's part of the batch.
    config : TrainConfig
    here : Ranks
        The processes that share the batch.
    logit_scale : Tensor, optional
        Logarithm of the scale, a scalar or one per pair (B,); by default the model's.

    Returns
    -------
    Tensor, a scalar, in nats
    """
    like = model.logit_scale  # the device and precision of the weights
    with torch.autocast(like.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        seen = [model.observe(m, data.features[m][i].to(like)) for m, i in batch.items()]
        places = torch.cat([data.basis[m][i].to(like) for m, i in batch.items()])  # (B, E)
        return nt_xent(
            model.locate(places),  # (B, D)
            torch.cat(seen),  # (B, D)
            model.logit_scale if logit_scale is None else logit_scale,
            config.direction,
            config.negatives,
            chunk=config.chunk_size,
            ranks=here,
        )


# ------------------------------------------------------------------------------- the loop


def fit(
    sample: Modality | Iterable[Modality] | Mapping[str, Modality],
    config: TrainConfig | None = None,
    encoder: LocationEncoder | Encoding | None = None,
    *,
    resume_from: str | Path | None = None,
    save_to: str | Path | None = None,
    callback: Callable[[dict[str, Any]], None] | None = None,
    batches: Batches | None = None,
    loss: Loss = tied_loss,
    hook: Hook | None = None,
) -> Run:
    """Train a location encoder against one or more modalities, each with its own places.

    Inside :func:`~earthtie_lite.distributed.process_group` each process takes its part of every
    batch; the result equals single-process training on the full batch, up to dropout and rounding.

    Parameters
    ----------
    sample : Modality, sequence or mapping of them
        For example :func:`~earthtie_lite.modalities.load_sample`, or some of its modalities.
    config : TrainConfig, optional
    encoder : LocationEncoder or Encoding, optional
        Architecture and initial weights; copied, so the encoder passed in stays untrained. With
        weights in float64, training is in float64, on encodings rounded to float32. An encoding
        stands for ``LocationEncoder(encoding)``, and nothing for ``LocationEncoder()``, both with
        weights drawn from the seed.
    resume_from : path, optional
        Folder of an earlier run with the same settings; training continues after its last epoch.
    save_to : path, optional
        Folder of the run, written every ``config.save_every`` epochs and at the end. With several
        processes the first one writes, into a folder that all of them see.
    callback : callable, optional
        Called after each epoch with the last row of the history; an exception ends training.
    batches : callable, optional
        Replaces :func:`melt_batches` or :func:`salt_batches`, with the same parameters; then
        ``config.method`` only sets how ``patience`` counts.
    loss : callable, optional
        Replaces :func:`tied_loss`, with its first five parameters. If it is a module, its
        parameters are trained and saved, too.
    hook : callable, optional
        Called with model, optimiser, epoch and step between ``backward`` and the optimiser's step.

    Returns
    -------
    Run
        Bitwise reproducible with the same seed, on a CPU with the same number of threads.

    Raises
    ------
    ValueError
        If a modality is too small for a batch, the run to resume does not match, or the loss is not
        finite.
    """
    refuse_other_run(save_to, resume_from)
    modalities = as_modalities(sample)
    config = config or TrainConfig()
    batches = batches or METHODS[config.method]
    device, here = pick_device(config.device), ranks()
    here.part(config.batch_size)  # raises if the processes cannot share a batch
    train_rows, val_rows = split_rows(modalities, config)
    # Leave the caller's random state unchanged.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(torch_seed("weights", config.seed))
        if resume_from is None:
            run = new_run(modalities, train_rows, config, encoder)
        else:
            run = resume(resume_from, modalities, train_rows, config, encoder)
        model = run.model
        objective = Objective(model, loss).to(device).train()
        loss_of = here.wrap(objective)
        optimiser = adamw(objective, config)
        restore_optimiser(optimiser, objective, run.optimiser)
        data = load_data(model, modalities, device)
        # A resumed run counts on from the seconds in its history.
        began = time.perf_counter() - (run.history["seconds"].iloc[-1] if len(run.history) else 0)
        while not finished(run.history, train_rows, config):
            epoch, log = next_epoch(run.history), []
            # Every epoch is seeded separately, so a resumed run draws the same random numbers.
            torch.manual_seed(torch_seed("dropout", config.seed, epoch, *here.seed_suffix))
            rng = stream("batches", config.seed, epoch)
            steps = on_device(batches(train_rows, config.batch_size, rng, epoch), data)
            for step, batch in enumerate(steps):
                for group in optimiser.param_groups:
                    group["lr"] = config.rate_at((epoch + step / len(steps)) / config.epochs)
                value = loss_of(data, here.share(batch), config, here)
                optimiser.zero_grad(set_to_none=True)
                value.backward()
                norm = gradient_norm(model.encoder)
                if hook is not None:
                    hook(model, optimiser, epoch, step)
                optimiser.step()
                model.clamp_logit_scale()  # after the step, as CLIP does
                done, scale = epoch * len(steps) + step + 1, model.logit_scale.detach().clone()
                seen, seconds = done * config.batch_size, time.perf_counter() - began
                row = (done, epoch, seen, "+".join(batch), value.detach(), math.nan, scale)
                log.append((*row, seconds, norm))
            ends = here.agreed(validate(objective, data, val_rows, config))
            history = extend(run.history, log, ends, config)
            model.encoder.calibrate(some_places(data, train_rows).to(model.logit_scale))
            run = Run(model, config, history, optimiser_state(optimiser, objective))
            due = (epoch + 1) % config.save_every == 0 or finished(history, train_rows, config)
            if save_to and due and here.rank == 0:
                run.save(save_to)
            if callback and here.rank == 0:
                callback({str(k): v for k, v in history.iloc[-1].items()})
    run.model.eval()
    return run


class Objective(nn.Module):
    """A model and the loss that trains it, as one module."""

    def __init__(self, model: EarthTie, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *args: Any) -> Tensor:
        """Compute the loss of a batch."""
        return self.loss(self.model, *args)


# ------------------------------------------------------------------------------------ data


def split_rows(modalities: list[Modality], config: TrainConfig) -> tuple[Rows, Rows]:
    """Split each modality into rows to train on and rows of held-out blocks.

    The blocks are the same for every modality and seed. Places within a patch width of a held-out
    block are in neither set.
    """
    train_rows, val_rows = {}, {}
    for m in modalities:
        held_out, kept = hold_out(m.lonlat, config.val_fraction, buffer_km=PATCH_KM)
        train_rows[m.name], val_rows[m.name] = np.flatnonzero(kept), np.flatnonzero(held_out)
        if config.val_fraction and len(val_rows[m.name]) < 2:
            raise ValueError(
                f"modality {m.name!r} has {len(val_rows[m.name])} places in the held-out blocks: "
                "add more places, or hold out none (val_fraction: 0)"
            )
    return train_rows, val_rows


def load_data(
    model: EarthTie, modalities: Iterable[Modality], device: torch.device | str = "cpu"
) -> Data:
    """Encode the places once (computed in float64, kept as float32); use the GPU if all fits.

    Otherwise the data stay in main memory or memory-mapped files, and a step copies its rows.
    """
    basis = {m.name: model.encoder.basis(m.lonlat) for m in modalities}
    with warnings.catch_warnings():  # torch warns that a memory-mapped array is read-only
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        features = {m.name: torch.from_numpy(m.features) for m in modalities}
    device = torch.device(device)
    if device.type == "cuda":
        size = sum(t.numel() * t.element_size() for t in (*basis.values(), *features.values()))
        if size > RESIDENT * torch.cuda.mem_get_info(device)[0]:
            device = torch.device("cpu")
    basis = {m: t.to(device) for m, t in basis.items()}
    return Data(basis, {m: t.to(device) for m, t in features.items()})


def on_device(steps: Iterable[Rows], data: Data) -> list[Rows]:
    """Return batches with their row numbers on the device of the data."""
    device = next(iter(data.basis.values())).device
    return [{m: torch.as_tensor(i, device=device) for m, i in batch.items()} for batch in steps]


def some_places(data: Data, train_rows: Rows, most: int = 1024) -> Tensor:
    """Return the encodings of random training places of every modality, to scale the skip by."""
    rng = stream("places that scale the skip")
    return torch.cat([data.basis[m][rng.permutation(i)[:most]] for m, i in train_rows.items()])


# ------------------------------------------------------------------------------- the optimiser


def adamw(objective: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW with weight decay for matrices, not for biases and the logit scale."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in objective.parameters() if p.ndim >= 2]},
        {"params": [p for p in objective.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


def gradient_norm(module: nn.Module) -> Tensor:
    """Return the Euclidean norm of the gradient of all parameters of a module, a scalar."""
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    return torch.stack([grad.norm() for grad in grads]).norm()


def optimiser_state(optimiser: torch.optim.Optimizer, objective: nn.Module) -> dict[str, Tensor]:
    """Return the optimiser's moments by parameter, and the values of the loss's own parameters."""
    state: dict[str, Tensor] = {}
    for name, parameter in objective.named_parameters():
        name = name.removeprefix("model.")
        entries = dict(optimiser.state[parameter])
        if name.startswith("loss."):
            entries["value"] = parameter
        state |= {f"{name}.{key}": value.detach().clone() for key, value in entries.items()}
    return state


@torch.no_grad()
def restore_optimiser(
    optimiser: torch.optim.Optimizer, objective: nn.Module, state: dict[str, Tensor]
) -> None:
    """Restore what :func:`optimiser_state` returned; AdamW keeps "step" on the CPU."""
    names = {name for name, _ in objective.named_parameters() if name.startswith("loss.")}
    if state and names != {key.rsplit(".", 1)[0] for key in state if key.startswith("loss.")}:
        raise ValueError("the run was trained with another loss: pass the same one as loss=")
    for name, parameter in objective.named_parameters():
        name = name.removeprefix("model.")
        for key in ("step", "exp_avg", "exp_avg_sq"):
            if f"{name}.{key}" in state:
                device = "cpu" if key == "step" else parameter.device
                optimiser.state[parameter][key] = state[f"{name}.{key}"].to(device)
        if f"{name}.value" in state:
            parameter.copy_(state[f"{name}.value"])


# ------------------------------------------------------------------------------- the history


@torch.no_grad()
def validate(
    objective: Objective, data: Data, val_rows: Rows, config: TrainConfig
) -> dict[str, float]:
    """Compute the held-out loss of each modality alone, and their mean as ``val_loss``.

    The batches have the same size for all modalities, so that the losses are comparable.
    """
    if not config.val_fraction:
        return {}
    size = min(config.val_batch_size, *(len(rows) for rows in val_rows.values()))
    objective.eval()
    losses = {}
    for name, rows in val_rows.items():
        order = stream("validation").permutation(rows)
        whole = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
        values = [objective(data, {name: some}, config, ALONE) for some in whole]
        losses[f"val_{name}"] = torch.stack(values).mean().item()
    objective.train()
    return {"val_loss": float(np.mean(list(losses.values()))), **losses}


def extend(
    history: "pd.DataFrame", log: list[tuple[Any, ...]], ends: dict[str, float], config: TrainConfig
) -> "pd.DataFrame":
    """Append the steps of an epoch to a history; the validation losses go into the last row.

    Values are copied from the device only here, once per epoch, so that no step waits for a GPU.
    """
    import pandas as pd

    epoch = pd.DataFrame(log, columns=COLUMNS)
    for name in ("loss", "logit_scale", "grad_norm"):
        epoch[name] = torch.stack(list(epoch[name])).double().cpu().numpy()
    if not np.isfinite(epoch["loss"]).all():
        raise ValueError(
            f"the loss is not finite in epoch {epoch['epoch'].iloc[0]}: "
            f"try a learning rate below {config.learning_rate:g}"
        )
    for name, value in ends.items():
        epoch[name] = [math.nan] * (len(epoch) - 1) + [value]
    return pd.concat([history, epoch], ignore_index=True) if len(history) else epoch


def finished(history: "pd.DataFrame", train_rows: Rows, config: TrainConfig) -> bool:
    """Return whether all epochs are done, or the loss has not improved for ``patience`` passes."""
    if config.patience is None or history.empty:
        return next_epoch(history) >= config.epochs
    losses = history["val_loss"].dropna().to_numpy()
    epochs = config.patience * (len(train_rows) if config.method == "salt" else 1)
    waited = len(losses) - 1 - int(np.argmin(losses))
    return next_epoch(history) >= config.epochs or waited >= epochs


def next_epoch(history: "pd.DataFrame") -> int:
    """Return the number of the next epoch to train."""
    return int(history["epoch"].iloc[-1]) + 1 if len(history) else 0


# ------------------------------------------------------------------------ starting and resuming


def as_encoder(encoder: LocationEncoder | Encoding | None) -> LocationEncoder:
    """Return an encoder, or build one on an encoding, with weights drawn here."""
    return encoder if isinstance(encoder, LocationEncoder) else LocationEncoder(encoder)


def new_run(
    modalities: list[Modality],
    train_rows: Rows,
    config: TrainConfig,
    encoder: LocationEncoder | Encoding | None,
) -> Run:
    """Build an untrained model; only training rows determine how features are standardised."""
    import pandas as pd

    widths = {m.name: m.features.shape[1] for m in modalities}
    featurisers = {m.name: m.featuriser for m in modalities if m.featuriser is not None}
    model = EarthTie(as_encoder(encoder), widths, featurisers)
    for m in modalities:
        model.head(m.name).fit_statistics(torch.from_numpy(m.features[train_rows[m.name]]))
    model.to(next(model.encoder.parameters()).dtype)
    return Run(model, config, pd.DataFrame())


def resume(
    folder: str | Path,
    modalities: list[Modality],
    train_rows: Rows,
    config: TrainConfig,
    encoder: LocationEncoder | Encoding | None,
) -> Run:
    """Load an unfinished run and check that settings and data are those it was trained with."""
    run = load(folder)
    free: dict[str, Any] = {"device": "auto", "save_every": 1, "chunk_size": None}
    if config.schedule == "constant":
        free["epochs"] = 1  # a constant rate does not depend on it
    asked, past = asdict(config.replace(**free)), asdict(run.config.replace(**free))
    if other := [f"{name}={past[name]!r}" for name in past if past[name] != asked[name]]:
        raise ValueError(
            f"the run in {folder} has other settings, {', '.join(other)}: repeat them, or train "
            "into another folder"
        )
    if (done := next_epoch(run.history)) > config.epochs:
        raise ValueError(
            f"the run in {folder} has {done} epochs already, more than {config.epochs}: raise them"
        )
    if list(run.model.in_dims.items()) != [(m.name, m.features.shape[1]) for m in modalities]:
        raise ValueError(f"the run in {folder} has other modalities: {run.model.in_dims}")
    again = new_run(modalities, train_rows, config, run.model.encoder).model
    for name in again.in_dims:
        old, new = run.model.head(name), again.head(name)
        if not (torch.allclose(old.mean, new.mean) and torch.allclose(old.std, new.std)):
            raise ValueError(f"the run in {folder} was trained on other data of {name!r}")
    if encoder is not None and as_encoder(encoder).spec != run.model.encoder.spec:
        raise ValueError(f"the run in {folder} has another encoder: {run.model.encoder.spec}")
    return Run(run.model, config, run.history, run.optimiser)
