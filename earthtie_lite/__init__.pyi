from . import (
    columns as columns,
    config as config,
    coords as coords,
    distributed as distributed,
    encoders as encoders,
    encodings as encodings,
    features as features,
    files as files,
    frames as frames,
    interfaces as interfaces,
    losses as losses,
    maps as maps,
    modalities as modalities,
    model as model,
    networks as networks,
    paper as paper,
    places as places,
    probes as probes,
    progress as progress,
    results as results,
    runs as runs,
    sample as sample,
    tasks as tasks,
    train as train,
)
from .config import TrainConfig as TrainConfig, profile as profile
from .distributed import process_group as process_group
from .encoders import JoinedEncoders as JoinedEncoders, LocationEncoder as LocationEncoder
from .encodings import (
    FourierFeatures as FourierFeatures,
    Sphere2Vec as Sphere2Vec,
    SphericalHarmonics as SphericalHarmonics,
    UnitVectors as UnitVectors,
)
from .features import (
    CharacterNGrams as CharacterNGrams,
    RandomConvolutions as RandomConvolutions,
)
from .interfaces.embedder import Embedder as Embedder
from .interfaces.grid import embed_grid as embed_grid, to_xarray as to_xarray
from .interfaces.tables import (
    embed_file as embed_file,
    embed_table as embed_table,
    nearest as nearest,
)
from .losses import nt_xent as nt_xent
from .modalities import Modality as Modality, load_sample as load_sample
from .model import EarthTie as EarthTie
from .places import check_places as check_places
from .probes import probe as probe, summarise as summarise
from .progress import ProgressBar as ProgressBar
from .runs import (
    Run as Run,
    list_pretrained as list_pretrained,
    load as load,
    load_pretrained as load_pretrained,
    load_snapshots as load_snapshots,
)
from .tasks import Task as Task, load_task as load_task
from .train import fit as fit

__version__: str
