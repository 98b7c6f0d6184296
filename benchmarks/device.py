"""Measure speed, precision and the paper's training on this machine, on a GPU if it has one.

Run it from the root of the repository: ``python -m benchmarks.device FOLDER``. Each part writes a
table, ``FOLDER/<part>.csv``, after every row. A later call with the same folder continues. The
parts are:

- steps: seconds per step of MELT and SALT, by degrees, precision and compilation
- embedding: places per second of the shipped models
- processes: whether one process under torchrun, with its collectives, has the same losses as
  a process without torchrun
- precision: held-out loss and probe scores after training in each precision
- training: the rows of the paper's training that the book's tables lack, in trained-*.zip

No row is started after ``--minutes``. If ``torchrun`` starts several processes, they share each
batch of the part "steps", and the other parts are left out.
"""

import argparse
import functools
import io
import itertools
import json
import platform
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata, util
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import earthtie_lite as et
from earthtie_lite import train
from earthtie_lite.config import pick_device
from earthtie_lite.coords import sample_sphere
from earthtie_lite.distributed import Gather, Ranks
from earthtie_lite.files import cached, write_atomic
from earthtie_lite.runs import PRETRAINED

CUDA = torch.cuda.is_available()
DEVICES = ("cpu", "cuda") if CUDA else ("cpu",)
NEEDS = ("pandas", "scipy", "sklearn", "pyarrow", "sphericart", "platformdirs", "safetensors")
PRECISIONS = ("float32", "TF32", "bf16") if CUDA else ("float32", "bf16")
WIDTH = 384  # of the features in timed steps, as of MoCo, DINO and BGE
PAPER_STEPS = 50 * 3 * 100_000 // 2048  # 50 passes over three modalities of 100,000 pairs
ZIP_BYTES = 12 << 20  # no run is added to a zip that is larger
Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is computed: the sizes of a profile."""

    pairs: int  # per modality, in timed steps
    batch: int
    degrees: tuple[int, ...]
    compiled: tuple[int, ...]  # degrees at which compiled steps are timed, too
    product: int  # rows of the square matrices whose product is timed
    places: int  # labelled places; ten times as many are embedded
    seeds: int  # trainings per precision, and draws of each probe
    rows: int  # largest number of rows of the paper's training
    recipe: dict[str, int]  # changes to the recipes


FEW = {"n": 600, "pairs": 3_000, "batch_size": 128, "n_degrees": 4, "width": 16, "out_dim": 32}
FEWER = {"n": 20_000, "pairs": 300_000}
PROFILES = {
    "paper": Sizes(100_000, 2048, (20, 10, 40), (20,), 8192, 20_000, 3, 10**6, {}),
    "small": Sizes(20_000, 2048, (20, 10, 40), (20,), 2048, 20_000, 2, 0, FEWER),
    "tiny": Sizes(240, 48, (4,), (), 256, 2_000, 1, 2, FEW | {"skip": 3}),
}


def cases(part: str, size: Sizes) -> list[Row]:
    """Return the settings of each row of a part, the most important first."""
    both = {"method": ("melt", "salt"), "precision": PRECISIONS}
    steps = every(how=("eager",), degrees=size.degrees, **both)
    steps += every(how=("compiled",), degrees=size.compiled, **both)
    graphs = {"how": ("CUDA graphs",) if CUDA else (), "method": ("melt",)}
    steps += every(degrees=size.compiled, **(both | graphs))
    if part == "training":
        return [dict(zip(("embedding", "seed"), row)) for row in list(lacking())[: size.rows]]
    return {
        "steps": steps,
        "embedding": every(model=PRETRAINED, device=DEVICES),
        "processes": every(backend=("nccl" if CUDA else "gloo",)),
        "precision": every(seed=range(size.seeds), precision=PRECISIONS),
    }[part]


def every(**options: Sequence[Any]) -> list[Row]:
    """Return all combinations of the options; the last option varies fastest."""
    return [dict(zip(options, chosen)) for chosen in itertools.product(*options.values())]


# ------------------------------------------------------------------------------------- steps


def time_steps(size: Sizes, how: str, degrees: int, method: Any, precision: str) -> Row:
    """Time training steps after a warm-up: one epoch of MELT, one epoch per modality of SALT."""
    sample, warm = random_modalities(size.pairs), 1 if method == "melt" else 3
    config = et.TrainConfig(method, 2 * warm, size.batch, val_fraction=0.0)
    config = config.replace(precision=set_precision(precision))
    encoder = et.LocationEncoder(et.SphericalHarmonics(degrees))
    rate, flop = product_rate(size.product, precision), count_flop(sample, config, encoder)
    loss, clock = loss_function(how), time.perf_counter
    began, ends = clock(), []  # of epochs; their losses have left the device by then
    run = et.fit(sample, config, encoder, callback=lambda _: ends.append(clock()), loss=loss)
    if not ends:  # only the first process runs the callback
        return {}
    seconds = (ends[-1] - ends[warm - 1]) / (len(run.history) / 2)
    found: Row = {"pairs": size.pairs, "batch": size.batch, "processes": train.ranks().size}
    found |= {"seconds_a_step": seconds, "paper_minutes": seconds * PAPER_STEPS / 60}
    found |= {"step_gflop": flop / 1e9, "product_gflop_per_second": rate / 1e9}
    found |= {"share_of_product_rate": flop / seconds / rate}
    found |= {"warm_up_seconds": ends[warm - 1] - began}
    return found | {"last_loss": float(run.history["loss"].iloc[-1])}


def set_precision(precision: str) -> Any:
    """Allow TF32 only if it is asked for; return the precision for ``TrainConfig``."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "TF32"
    return "bf16" if precision == "bf16" else "float32"


def loss_function(how: str) -> Callable[..., torch.Tensor]:
    """Return the training loss, which includes the model's forward pass, eager or compiled."""
    if how == "eager":
        return train.tied_loss
    torch.compiler.reset()  # after too many recompilations the function would run eagerly
    mode = "default" if how == "compiled" else "reduce-overhead"
    compiled = torch.compile(train.tied_loss, dynamic=False, mode=mode)
    # The next replay of a CUDA graph overwrites the output of this one.
    return lambda *arguments: compiled(*arguments).clone()


@functools.lru_cache(maxsize=1)
def random_modalities(n: int) -> tuple[et.Modality, ...]:
    """Return three modalities of n random places with random features; times are unaffected."""
    rng = np.random.default_rng(0)
    return tuple(
        et.Modality(name, sample_sphere(n, rng), rng.standard_normal((n, WIDTH), np.float32))
        for name in ("satellite", "photos", "text")
    )


@functools.cache
def product_rate(side: int, precision: str) -> float:
    """Return the FLOP per second of a matrix product on the device."""
    dtype = torch.bfloat16 if set_precision(precision) == "bf16" else torch.float32
    a = torch.randn(side, side, dtype=dtype, device=pick_device("auto"))
    for repeats in (3, 10):  # the first ones warm up
        began = time.perf_counter()
        for _ in range(repeats):
            product = a @ a
        product[0, 0].item()  # waits for the device
    return 10 * 2 * side**3 / (time.perf_counter() - began)


def count_flop(sample: Any, config: et.TrainConfig, encoder: et.LocationEncoder) -> float:
    """Return the floating-point operations of the matrix products in one step."""
    few = [et.Modality(m.name, m.lonlat[:2048], m.features[:2048]) for m in sample]
    rows = {m.name: np.arange(len(m)) for m in few}
    model = train.new_run(few, rows, config, encoder).model
    batches = train.METHODS[config.method](rows, config.batch_size, np.random.default_rng(0), 0)
    with FlopCounterMode(display=False) as counter:
        train.tied_loss(model, train.load_data(model, few), next(batches), config).backward()
    return counter.get_total_flops()


# ------------------------------------------------------------------- embedding and processes


def time_embedding(size: Sizes, model: str, device: str) -> Row:
    """Time embedding, and separately its harmonics, which the CPU computes in float64."""
    set_precision("float32")
    lonlat = sample_sphere(10 * size.places, np.random.default_rng(0))
    chosen = et.load_pretrained(model)
    encoders: Any = chosen.encoders if isinstance(chosen, et.JoinedEncoders) else [chosen.encoder]
    began = time.perf_counter()
    for encoder in encoders:
        encoder.basis(lonlat)
        et.SphericalHarmonics(max(encoder.skip, 1))(lonlat)
    harmonics = time.perf_counter() - began
    chosen.to(device).embed(lonlat[:1000])  # warms up
    began = time.perf_counter()
    chosen.embed(lonlat)
    seconds = time.perf_counter() - began
    found = {"places": len(lonlat), "seconds": seconds, "harmonics_seconds": harmonics}
    return found | {"places_per_second": len(lonlat) / seconds}


class Collective(Ranks):
    """A single process that runs the communication code of several processes."""

    def gather(self, part: torch.Tensor) -> torch.Tensor:
        """Join the parts of all processes, here one."""
        return Gather.apply(part, self)

    def wrap(self, objective: torch.nn.Module) -> torch.nn.Module:
        """Synchronise the gradients of all processes, here one."""
        return Ranks(size=2).wrap(objective)


def compare_processes(size: Sizes, backend: str) -> Row:
    """Train for a few steps in this process and in one under torchrun; compare the losses."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    (profile,) = (name for name, known in PROFILES.items() if known == size)
    with tempfile.TemporaryDirectory() as folder:
        command += ["-m", "benchmarks.device", folder, "--profile", profile, "--losses"]
        root = Path(__file__).resolve().parents[1]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(done.stderr[-300:])
        shared = json.loads((Path(folder) / "losses.json").read_text(encoding="utf-8"))
    alone = few_losses(size)
    found = {"steps": len(alone), "first_loss": alone[0], "last_loss": alone[-1]}
    return found | {"largest_difference": float(np.abs(np.subtract(alone, shared)).max())}


def few_losses(size: Sizes) -> list[float]:
    """Return the losses of a few steps from a fixed seed, in float32."""
    set_precision("float32")
    config = et.TrainConfig(epochs=1, batch_size=size.batch, learning_rate=1e-3, val_fraction=0.0)
    return et.fit(random_modalities(3 * size.batch), config).history["loss"].tolist()


# ------------------------------------------------------------------ precision and training


def score_precision(size: Sizes, seed: int, precision: str) -> Row:
    """Train in a precision with some blocks held out; return held-out loss and probe scores."""
    from data.experiments import plans

    tasks = labelled(size.places)  # first, since it may need a package that is missing
    recipe = replace(plans.recipe("chosen"), **size.recipe)  # type: ignore[arg-type]
    sample = et.load_sample(recipe.n, seed)
    config = recipe.config("melt", len(sample), seed)
    config = config.replace(precision=set_precision(precision), val_fraction=0.1)
    run = et.fit(sample, config, recipe.encoder(seed))
    set_precision("float32")  # for embedding
    ends, scores = run.history.iloc[-1], {}
    for task in tasks:
        drawn = et.probe(run.model, task, min(729, len(task) // 4), probe="ridge", seeds=size.seeds)
        scores[task.name] = float(drawn["score"].mean())
    return {name: float(ends[name]) for name in ("pairs", "seconds", "val_loss")} | scores


def labelled(n: int) -> list[et.Task]:
    """Return places labelled with elevation and country, from the cache if it has them."""

    def compute() -> np.ndarray:
        metres, country = (et.load_task(name, n) for name in ("elevation", "country"))
        return np.column_stack([metres.lonlat, metres.target, country.target])

    table = cached(f"labels of benchmarks, {n}".encode(), compute)
    lonlat, country = table[:, :2], table[:, 3].astype(np.int64)
    elevation = et.Task("elevation", lonlat, table[:, 2], "regression", "m")
    return [elevation, et.Task("country", lonlat, country, "classification", "country")]


def lacking() -> dict[tuple[str, int], Any]:
    """Return the rows of the paper's training that the tables lack, by name and seed."""
    from data.experiments.plans import rows_of
    from earthtie_lite.results.tables import read_runs

    found: dict[tuple[str, int], Any] = {}
    for stage in ("report", "dynamics"):
        runs = read_runs(stage)
        runs = runs[runs["recipe"] == "paper"]
        known = set(zip(runs["embedding"], runs["seed"].astype(int)))
        rows = {(row.name, row.seed): row for row in rows_of(stage, "paper")}
        found |= {name: row for name, row in rows.items() if name not in known}
    return found


def train_row(size: Sizes, embedding: str, seed: int, folder: Path) -> Row:
    """Train a row in float32 and pack its run, without the optimiser."""
    from data.experiments.embeddings import trained

    set_precision("float32")
    row = lacking()[embedding, seed]
    row = replace(row, recipe=replace(row.recipe, **size.recipe))
    with tempfile.TemporaryDirectory() as work:
        run = trained(row, work)
        (path,) = Path(work, "encoders").iterdir()
        replace(run, optimiser={}).save(path)
        where = pack(path, folder)
    last, found = run.history.iloc[-1], {"encoder": path.name, "zip": where}
    return found | {name: float(last[name]) for name in ("pairs", "seconds", "loss")}


def pack(run: Path, folder: Path) -> str:
    """Add a run's files to a zip that has room, or to a new one; return its name."""
    zips = [path for path in folder.glob("trained-*.zip") if path.stat().st_size < ZIP_BYTES]
    path = zips[0] if zips else folder / f"trained-{run.name}.zip"
    buffer = io.BytesIO(path.read_bytes() if zips else b"")
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as file:
        for part in sorted(run.iterdir()):
            file.write(part, f"encoders/{run.name}/{part.name}")
    write_atomic(path, buffer.getvalue())  # atomic: a kill leaves the earlier runs
    return path.name


# ------------------------------------------------------------------------------- the tables

PARTS: dict[str, Callable[..., Row]] = {
    "steps": time_steps,
    "embedding": time_embedding,
    "processes": compare_processes,
    "precision": score_precision,
    "training": train_row,
}


def provenance(profile: str) -> Row:
    """Return the profile, the date, the hardware and the versions that a row is made with."""
    found = {"profile": profile, "global_seed": "0", "date": time.strftime("%Y-%m-%d")}
    found["hardware"] = torch.cuda.get_device_name() if CUDA else f"{platform.machine()} CPU"
    found |= {"threads": str(torch.get_num_threads()), "python": platform.python_version()}
    found["earthtie-lite"] = et.__version__
    names = ("torch", "numpy", "pandas", "scipy", "scikit-learn", "sphericart")
    return found | {name: metadata.version(name) for name in names}


def measure(part: str, folder: Path, profile: str, end: float, here: Ranks) -> str:
    """Measure the cases that the part's table lacks; return what was left out.

    A row is started only if one as slow as the slowest so far would end in time. Every row is
    written at once. A case that fails becomes a row with its error; another call tries it again.
    """
    needs = (*NEEDS, "rasterio") if part in ("precision", "training") else NEEDS
    if missing := [name for name in needs if util.find_spec(name) is None]:
        return f"needs {', '.join(missing)}"
    import pandas as pd

    path = folder / f"{part}.csv"
    rows: list[Any] = []
    if path.is_file():
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        rows = [row for row in table.to_dict("records") if not row.get("error")]
    size, slowest, left = PROFILES[profile], 0.0, 0
    options = {"folder": folder} if part == "training" else {}
    for case in cases(part, size):
        if any(all(str(row[name]) == str(case[name]) for name in case) for row in rows):
            continue
        began = time.monotonic()
        if here.agreed(began + slowest >= end):
            left += 1
            continue
        torch.manual_seed(0)
        try:
            found = PARTS[part](size, **case, **options)
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"[:300]}
        slowest = max(slowest, time.monotonic() - began)
        if here.rank == 0:
            row = {str(name): value for name, value in (case | found).items()}
            shown = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
            print(f"{part}: {', '.join(shown)}", flush=True)
            rows.append(row | provenance(profile))
            write_atomic(path, pd.DataFrame(rows).to_csv(index=False).encode())
    return f"{left} rows for lack of time" if left else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts and print what was left out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, help="of the tables; use one per machine")
    parser.add_argument("--minutes", type=float, default=10.0, help="start no row after this")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--profile", choices=list(PROFILES), default="paper" if CUDA else "small")
    parser.add_argument("--tiny", action="store_const", const="tiny", dest="profile")
    parser.add_argument("--labels", action="store_true", help="only fill the cache with labels")
    parser.add_argument("--losses", action="store_true", help=argparse.SUPPRESS)  # of few steps
    asked = parser.parse_args(arguments)
    size, end = PROFILES[asked.profile], time.monotonic() + 60 * asked.minutes
    with et.process_group() as here:
        if asked.labels:
            labelled(size.places)
        elif asked.losses:
            with patch.object(train, "ranks", Collective):
                losses = few_losses(size)
            write_atomic(asked.folder / "losses.json", json.dumps(losses).encode())
        else:
            parts = ["steps"] if here.size > 1 else asked.parts
            left = {p: measure(p, asked.folder, asked.profile, end, here) for p in parts}
            named = "; ".join(f"{part} ({why})" for part, why in left.items() if why)
            if here.rank == 0:
                print(f"left out: {named or 'nothing'}")


if __name__ == "__main__":
    main()
