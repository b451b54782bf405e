import errno
import io
import random

import h5py
import numpy as np
import pytest

from robofb.store.patient_file import PatientFile, open_disk


class FullDisk(io.FileIO):
    """A file of 1000 bytes at most, which takes a part of the write that fills it."""

    def write(self, data):
        room = 1000 - self.tell()
        if room <= 0:
            raise OSError(errno.ENOSPC, "full")
        return super().write(bytes(data)[:room])


@pytest.fixture
def full(tmp_path):
    file = PatientFile(tmp_path / "f")
    file._file.close()
    file._file = FullDisk(tmp_path / "f", "r+")
    yield file
    file.close()
    file.close()


def test_it_reads_back_what_was_written_although_the_disk_is_full(full):
    chance, expected = random.Random(0), io.BytesIO()
    for _ in range(300):
        place, data = chance.randrange(2500), chance.randbytes(chance.randrange(1, 200))
        for file in (full, expected):
            file.seek(place)
            assert file.write(data) == len(data)
        place, count = chance.randrange(3000), chance.randrange(200)
        full.seek(place)
        expected.seek(place)
        assert full.read(count) == expected.read(count)
    assert full.seek(0, io.SEEK_END) == expected.seek(0, io.SEEK_END)
    for _ in range(2):
        with pytest.raises(OSError, match="full") as refused:
            full.check()
        assert refused.value.errno == errno.ENOSPC


def test_hdf5_closes_well_and_the_disks_refusal_is_raised(full):
    with h5py.File(full, "w") as file:
        for number in range(20):
            file[f"group{number}/rows"] = np.arange(100)
    with pytest.raises(OSError, match="full"):
        full.check()


def test_hdf5_on_a_disk_with_room_is_whole(tmp_path):
    with open_disk(tmp_path / "f") as disk, h5py.File(disk, "w") as file:
        file["rows"] = np.arange(100)
        disk.check()
    with h5py.File(tmp_path / "f", "r") as file:
        np.testing.assert_array_equal(file["rows"][:], np.arange(100))


def test_a_file_that_is_there_is_kept(tmp_path):
    (tmp_path / "f").write_bytes(b"mine")
    with pytest.raises(FileExistsError), open_disk(tmp_path / "f"):
        pass
    assert (tmp_path / "f").read_bytes() == b"mine"
