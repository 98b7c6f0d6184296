"""What pretrained encoders share: a mended torchvision, lazy imports, weights known by hash."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import earthtie_lite
from earthtie_lite.paper import frozen
from earthtie_lite.paper.frozen import Tower, digest, library, mend_torchvision

NMS = RuntimeError("operator torchvision::nms does not exist")
QNMS = RuntimeError("operator torchvision::qnms does not exist")


@dataclass(frozen=True)
class Doubler(Tower):
    """A linear layer without a bias, of three numbers."""

    model: str = "doubler"

    def _load(self):
        layer = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Dropout(0.5))
        if self.local is not None:
            layer[0].load_state_dict({"weight": torch.load(self.local, weights_only=True)})
        return layer.double()

    def _check(self, raw):
        return list(raw)

    def _prepare(self, items):
        return torch.tensor(np.array(items, dtype=np.float32))


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(2 * torch.eye(3), path)
    return path


@pytest.fixture
def imports(monkeypatch):
    """Return what each import of torchvision comes to, and what was declared."""
    outcomes, declared = [], []

    def load(name):
        assert name == "torchvision"
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(frozen.importlib, "import_module", load)
    monkeypatch.setattr(frozen.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(frozen, "_declare", declared.append)
    return outcomes, declared


@pytest.mark.parametrize(
    ("before", "declared"), [([], []), ([NMS], ["nms"]), ([NMS, QNMS], ["nms", "qnms"])]
)
def test_only_what_torchvision_misses_is_declared(imports, before, declared):
    imports[0].extend([*before, "torchvision"])
    mend_torchvision()
    assert imports == ([], declared)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::roi_align does not exist"),
        RuntimeError("operator torchvision::nms does not exist, nor does torch"),
        RuntimeError("compiled with different CUDA major versions"),
        ImportError("libcudart"),
        OSError("nms"),
    ],
)
def test_other_errors_of_torchvision_are_raised(imports, error):
    imports[0].append(error)
    with pytest.raises(type(error)) as raised:
        mend_torchvision()
    assert raised.value is error
    assert imports == ([], [])


def test_a_torchvision_that_cannot_be_mended_is_tried_three_times(imports):
    imports[0].extend([NMS, NMS, NMS])
    with pytest.raises(RuntimeError, match="torchvision::nms does not exist"):
        mend_torchvision()
    assert imports[0] == []


def test_no_torchvision_is_no_error(imports, monkeypatch):
    monkeypatch.setattr(frozen.importlib.util, "find_spec", lambda name: None)
    mend_torchvision()


def test_the_libraries_can_be_imported_here_and_not_before_they_are_needed():
    code = """if True:
        import sys
        from earthtie_lite.paper import frozen, towers
        heavy = ("torchvision", "open_clip", "timm", "transformers")
        assert not [name for name in heavy if name in sys.modules]
        try:
            import torchvision
            healthy = True
        except RuntimeError as error:
            assert str(error) == "operator torchvision::nms does not exist"
            healthy = False
        for name in heavy:
            frozen.library(name)
        from transformers import BertModel
        assert healthy == (frozen._declare.cache_info().currsize == 0)
        boxes = sys.modules["torch"].ops.torchvision.nms
        """
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(earthtie_lite.__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr


def test_a_missing_library_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"timm cannot be imported .* pip install '\.\[encoders"):
        library("timm")


def test_a_network_is_frozen_and_float32(weights):
    tower = Doubler(weights=weights)
    assert not tower.network.training
    assert [(p.requires_grad, p.dtype) for p in tower.network.parameters()] == [
        (False, torch.float32)
    ]
    z = tower([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(z, [[2, 4, 6], [8, 10, 12]])
    assert z.dtype == np.float32


@pytest.mark.parametrize("batch", [1, 2, 3, 16])
def test_a_batch_holds_as_many_inputs_as_asked(weights, batch, monkeypatch):
    tower, sizes = Doubler(weights=weights, batch=batch), []
    encode = Doubler._encode

    def count(self, network, inputs):
        sizes.append(len(inputs))
        return encode(self, network, inputs)

    monkeypatch.setattr(Doubler, "_encode", count)
    raw = np.arange(15.0).reshape(5, 3)
    np.testing.assert_array_equal(tower(raw), 2 * raw)
    assert sum(sizes) == 5
    assert max(sizes) == min(batch, 5)


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one = Doubler(weights="random")([[1, 2, 3]])
    assert torch.rand(1) == expected
    np.testing.assert_array_equal(Doubler(weights="random")([[1, 2, 3]]), one)


def test_the_description_has_the_hash_and_nothing_of_the_machine(weights):
    tower = Doubler(weights=weights, batch=5, device="cpu")
    sha256 = digest(weights)
    expected = {"class": "Doubler", "model": "doubler", "weights": str(weights), "sha256": sha256}
    assert tower.spec == expected
    del expected["weights"]
    assert tower.identity == expected
    assert Doubler().identity == Doubler().spec
    assert Doubler().spec["weights"] is None


def test_weights_that_have_changed_are_refused(weights):
    tower = Doubler(weights=weights)
    torch.save(3 * torch.eye(3), weights)
    with pytest.raises(ValueError, match=rf"expected weights of the SHA-256 {tower.sha256}"):
        tower([[1, 2, 3]])


def test_weights_of_a_known_hash_are_read_at_first_use(weights):
    tower = Doubler(weights="/nowhere/w.pth", sha256=digest(weights))
    with pytest.raises(ValueError, match=r"there are no weights in /nowhere/w\.pth"):
        tower([[1, 2, 3]])


def test_bad_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there are no weights in .*none\.pth; download"):
        Doubler(weights=tmp_path / "none.pth")
    with pytest.raises(ValueError, match=r"expected weights in a file, .* is none"):
        Doubler(weights=tmp_path)
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        Doubler(batch=0)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device 'cuda' was asked for, but torch finds no GPU"):
            Doubler(weights="random", device="cuda")([[1, 2, 3]])


def test_what_cannot_be_loaded_names_the_model_and_the_file(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(torch.eye(4), path)
    message = rf"doubler cannot be loaded from {path}: .*size mismatch.*; take weights of this very"
    with pytest.raises(ValueError, match=f"(?s){message}"):
        Doubler(weights=path)([[1, 2, 3]])


def test_the_hash_of_a_folder_is_that_of_its_files(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = digest(tmp_path)
    (tmp_path / "README.md").write_text("read me")
    (tmp_path / "onnx").mkdir()
    assert digest(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"2")
    second = digest(tmp_path)
    (tmp_path / "config.json").rename(tmp_path / "settings.json")
    assert len({first, second, digest(tmp_path)}) == 3
