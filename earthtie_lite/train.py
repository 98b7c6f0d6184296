"""Training by location tying: MELT, SALT and, with one modality, the two-modality baseline."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .batches import Rows, batches, part_of, split_rows, steps_per_epoch
from .checkpoint import Run, load, refuse_other_run
from .config import TrainConfig
from .devices import Ranks, home, mapped, pick_device, ranks
from .location import LocationEncoder
from .losses import nt_xent
from .modalities import Modality, as_modalities
from .models import EarthTie
from .optimiser import (
    adamw,
    freeze_all_but_heads,
    gradient_norm,
    optimiser_state,
    restore_optimiser,
)
from .streams import stream, torch_seed

if TYPE_CHECKING:
    import pandas as pd

Tensors = dict[str, Tensor]  # one tensor a modality
ALONE = Ranks()


def fit(
    sample: Modality | Iterable[Modality] | Mapping[str, Modality],
    config: TrainConfig | None = None,
    encoder: LocationEncoder | None = None,
    *,
    resume_from: str | Path | None = None,
    save_to: str | Path | None = None,
    callback: Callable[[dict[str, Any]], None] | None = None,
) -> Run:
    """Train a location encoder against one or more modalities that share no sample.

    Inside :func:`~earthtie_lite.devices.process_group` each process takes its part of every batch,
    and the result is that of one process with the whole of it, but for dropout and rounding.

    Parameters
    ----------
    sample : Modality, sequence or mapping of them
        For example :func:`~earthtie_lite.modalities.load_sample`, or any part of it.
    config : TrainConfig, optional
    encoder : LocationEncoder, optional
        The architecture and first weights, not drawn from the seed; copied, the one passed in
        stays untrained. Weights in float64 train in float64. By default ``LocationEncoder()``
        with weights drawn from the seed.
    resume_from : path, optional
        Folder of an earlier run with the same settings; training goes on after its last epoch.
    save_to : path, optional
        Folder for the run, every ``config.save_every`` epochs and at the end; not another run's.
        Of several processes the first writes, into a folder that all of them see.
    callback : callable, optional
        Called after each epoch with the last row of the history; what it raises ends training.

    Returns
    -------
    Run
        The same for the same seed, bit for bit on a CPU with the same number of threads.

    Raises
    ------
    ValueError
        If a modality is too small for a batch, a run to resume does not fit, or the loss is lost.
    """
    import pandas as pd

    refuse_other_run(save_to, resume_from)
    modalities = as_modalities(sample)
    config = TrainConfig() if config is None else config
    device, here = pick_device(config.device), ranks()
    if config.batch_size % here.size:
        raise ValueError(
            f"batch_size {config.batch_size} cannot be shared by {here.size} processes"
        )
    train_rows, val_rows = split_rows(modalities, config)
    n_steps = steps_per_epoch(train_rows, config)
    if config.head_warmup >= n_steps:
        raise ValueError(
            f"head_warmup of {config.head_warmup} steps leaves none of an epoch's {n_steps} to the "
            "encoder: lower it"
        )
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(torch_seed("weights", config.seed))
        if resume_from is None:
            run = new_run(modalities, train_rows, config, encoder)
        else:
            run = resume(resume_from, modalities, train_rows, config, encoder)
        model = run.model.to(device).train()
        here.share(model)
        optimiser = adamw(model, config)
        restore_optimiser(optimiser, model, run.optimiser)
        history: list[dict[str, Any]] = run.history.to_dict("records")  # type: ignore[assignment]
        before = history[-1]["seconds"] if history else 0.0
        started = time.perf_counter()

        # The encoding is computed once, in float64; both stay where steps read them fastest.
        basis = {m.name: model.encoder.basis(m.lonlat) for m in modalities}  # (N, E)
        features = {m.name: mapped(m.features) for m in modalities}  # (N, D)
        place = home([*basis.values(), *features.values()], device)
        basis = {name: tensor.to(place) for name, tensor in basis.items()}
        features = {name: tensor.to(place) for name, tensor in features.items()}

        ended = out_of_patience(run.history, train_rows, config)
        for epoch in range(history[-1]["epoch"] + 1 if history else 0, config.epochs):
            if ended:
                break
            alone = () if here.size == 1 else (here.rank,)  # each process drops units of its own
            torch.manual_seed(torch_seed("dropout", config.seed, epoch, *alone))  # nothing to save
            if config.moments == "reset" and len(train_rows) > 1:
                optimiser.state.clear()
            returns = epoch >= len(train_rows) > 1  # SALT's modality was away
            rows: list[dict[str, Any]] = []
            for step, batch in enumerate(batches(train_rows, config, epoch, n_steps, place)):
                for group in optimiser.param_groups:
                    group["lr"] = config.rate_at((epoch + step / n_steps) / config.epochs)
                loss = tied_loss(model, basis, features, batch, config, here)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                here.sum_gradients(taking_part(model, batch))
                steepness = gradient_norm(model.encoder)
                if returns and step < config.head_warmup:
                    freeze_all_but_heads(model)
                optimiser.step()
                model.clamp_logit_scale()  # after the step, as CLIP does
                done = epoch * n_steps + step + 1
                rows.append(
                    {
                        "step": done,
                        "epoch": epoch,
                        "pairs": done * config.batch_size,
                        "modality": "+".join(batch),
                        "loss": loss.detach(),
                        "val_loss": math.nan,
                        "logit_scale": mean_scale(model, batch),
                        "seconds": before + time.perf_counter() - started,
                        "grad_norm": steepness,
                    }
                )
            # Numbers leave the device once an epoch: a GPU is never waited for in a step.
            here.sum([row["loss"] for row in rows])
            history += [
                row | {k: row[k].item() for k in ("loss", "logit_scale", "grad_norm")}
                for row in rows
            ]
            if not all(math.isfinite(row["loss"]) for row in history[-n_steps:]):
                raise ValueError(
                    f"the loss is not finite in epoch {epoch}: "
                    f"try a learning rate below {config.learning_rate:g}"
                )
            history[-1] |= here.agreed(validate(model, basis, features, val_rows, config))
            some = [
                basis[name][rows[:1024]].to(model.logit_scale) for name, rows in train_rows.items()
            ]
            model.encoder.calibrate(torch.cat(some))

            run = Run(model, config, pd.DataFrame(history), optimiser_state(optimiser, model))
            ended = epoch + 1 == config.epochs or out_of_patience(run.history, train_rows, config)
            first = here.rank == 0
            if first and save_to is not None and (ended or (epoch + 1) % config.save_every == 0):
                run.save(save_to)
            if first and callback is not None:
                callback(dict(history[-1]))
    run.model.eval()
    return run


def tied_loss(
    model: EarthTie,
    basis: Tensors,
    features: Tensors,
    batch: Rows,
    config: TrainConfig,
    here: Ranks = ALONE,
) -> Tensor:
    """Compute the loss of one batch: MELT's holds every modality, SALT's a single one.

    All pairs of the batch are joined, so with several modalities the negatives of a pair come from
    the others too. Of several processes, each encodes its own part of the B pairs and compares
    these with all; their losses add up to the batch's.
    """
    n = sum(len(rows) for rows in batch.values())
    kind, part = model.logit_scale, here.part(n)  # the weights' device and precision
    own = part_of(batch, part)
    with torch.autocast(kind.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        places = torch.cat([basis[name][rows].to(kind) for name, rows in own.items()])  # (b, E)
        seen = {name: features[name][rows].to(kind) for name, rows in own.items()}  # (b, D)
        if config.objective == "regression":
            return predicted_loss(model, model.encoder(places), seen) / n
        observed = torch.cat([model.observe(name, x) for name, x in seen.items()])
        scales = [model.scale_of(name).expand(len(rows)) for name, rows in batch.items()]
        return nt_xent(
            here.gather(model.locate(places)),  # (B, D)
            here.gather(observed),  # (B, D)
            scales[0][0] if config.scales == "shared" or len(batch) == 1 else torch.cat(scales),
            config.direction,
            config.negatives,
            anchors=part if here.size > 1 else None,
            chunk=config.chunk_size,
        )


def predicted_loss(model: EarthTie, located: Tensor, seen: Tensors) -> Tensor:
    """Add up the mean squared errors of observations, predicted from their b places.

    The control without contrast: the transposed head of a modality maps the location embedding
    (b, D) to the modality's standardised features.
    """
    errors, start = [], 0
    for name, features in seen.items():
        head, stop = model.head(name), start + len(features)
        error = located[start:stop] @ head.linear.weight - head.standardise(features)
        errors.append(error.square().mean() * len(features))
        start = stop
    return torch.stack(errors).sum()


@torch.no_grad()
def validate(
    model: EarthTie, basis: Tensors, features: Tensors, val_rows: Rows, config: TrainConfig
) -> dict[str, float]:
    """Compute the held-out loss of each modality alone, and their mean as ``val_loss``.

    Each pair competes within batches of one size for all modalities, so the losses compare.
    """
    if not config.val_fraction:
        return {}
    size = min(config.val_batch_size, *(len(rows) for rows in val_rows.values()))
    model.eval()
    losses = {}
    for name, rows in val_rows.items():
        rows = stream("validation").permutation(rows)
        whole = [rows[i : i + size] for i in range(0, len(rows) - size + 1, size)]
        parts = [tied_loss(model, basis, features, {name: part}, config) for part in whole]
        losses[f"val_{name}"] = torch.stack(parts).mean().item()
    model.train()
    return {"val_loss": float(np.mean(list(losses.values()))), **losses}


def out_of_patience(history: "pd.DataFrame", train_rows: Rows, config: TrainConfig) -> bool:
    """Tell whether ``patience`` passes over all modalities brought no better validation loss."""
    if config.patience is None or history.empty:
        return False
    losses = history["val_loss"].dropna().to_numpy()
    epochs = config.patience * (len(train_rows) if config.method == "salt" else 1)
    return len(losses) - 1 - int(np.argmin(losses)) >= epochs


def taking_part(model: EarthTie, batch: Rows) -> list[torch.nn.Parameter]:
    """Return the parameters that a batch trains: all but the heads of absent modalities."""
    absent = [f"projections.of_{name}." for name in model.in_dims if name not in batch]
    return [p for name, p in model.named_parameters() if not name.startswith(tuple(absent))]


def mean_scale(model: EarthTie, batch: Rows) -> Tensor:
    """Return the logarithm of the scale of a batch, averaged over its modalities, a scalar."""
    return torch.stack([model.scale_of(name).detach() for name in batch]).mean()


def new_run(
    modalities: list[Modality],
    train_rows: Rows,
    config: TrainConfig,
    encoder: LocationEncoder | None,
) -> Run:
    """Build an untrained model; features are standardised by the rows to train on alone."""
    import pandas as pd

    model = EarthTie(
        LocationEncoder() if encoder is None else encoder,
        {m.name: m.features.shape[1] for m in modalities},
        {m.name: m.featuriser for m in modalities if m.featuriser is not None},
        config.scales,
    )
    for m in modalities:
        model.head(m.name).fit_statistics(torch.from_numpy(m.features[train_rows[m.name]]))
    model.to(next(model.encoder.parameters()).dtype)
    return Run(model, config, pd.DataFrame())


def resume(
    folder: str | Path,
    modalities: list[Modality],
    train_rows: Rows,
    config: TrainConfig,
    encoder: LocationEncoder | None,
) -> Run:
    """Load an unfinished run and check that the settings and the data are its own."""
    run = load(folder)
    free = {
        "device": "auto",
        "save_every": 1,
        "chunk_size": None,
    }  # settings that do not change the result
    if config.schedule == "constant":
        free["epochs"] = 1
    asked, past = asdict(config.replace(**free)), asdict(run.config.replace(**free))
    if other := [f"{name}={past[name]!r}" for name in past if past[name] != asked[name]]:
        raise ValueError(
            f"the run in {folder} has other settings, {', '.join(other)}: repeat them, or train "
            "into another folder"
        )
    done = 0 if run.history.empty else int(run.history["epoch"].iloc[-1]) + 1
    if done > config.epochs:
        raise ValueError(
            f"the run in {folder} has {done} epochs already, not epochs={config.epochs}"
        )
    if list(run.model.in_dims.items()) != [(m.name, m.features.shape[1]) for m in modalities]:
        raise ValueError(f"the run in {folder} has other modalities: {run.model.in_dims}")
    for m in modalities:
        head = run.model.head(m.name)
        again = copy.deepcopy(head)
        again.fit_statistics(torch.from_numpy(m.features[train_rows[m.name]]))
        same = [torch.allclose(*pair) for pair in ((head.mean, again.mean), (head.std, again.std))]
        if not all(same):
            raise ValueError(f"the run in {folder} was trained on other data of {m.name!r}")
    if encoder is not None and encoder.spec != run.model.encoder.spec:
        raise ValueError(f"the run in {folder} has another encoder: {run.model.encoder.spec}")
    return run
