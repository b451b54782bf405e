from dataclasses import replace

import numpy as np
import pytest
from sound_episodes import LENGTH, overwrite, sound_episode, write_dataset

from robofb.dataset_page import render_page, write_page
from robofb.errors import UserError
from robofb.store.doctor.examine import examine

SOUND = [sound_episode(number) for number in range(6)]


def test_a_page_names_the_faults_and_shades_the_faulty_frames(tmp_path):
    images = SOUND[2].obs["image_front"].copy()
    images[11:14] = images[10]
    faulty = replace(SOUND[2], obs={**SOUND[2].obs, "image_front": images})
    folder = write_dataset(tmp_path / "<d>", [*SOUND[:2], faulty, *SOUND[3:]])
    overwrite(folder, "data/state", 4 * LENGTH + 7, np.nan)
    html = render_page(examine(folder))
    assert "&lt;d&gt;" in html
    assert "<d>" not in html
    assert "episode 2, frames 11 to 13, image_front" in html
    assert "episode 4, frame 7, state" in html
    assert "nan" not in html.split("</style>")[1].replace("NaN", "")  # no point where no number is
    # 40 frames lie between 44 and 446: frame 11 at 44 + 11 / 40 * 402 = 154.55, 13 at 174.65; and 2 around.
    assert 'x="152.6" y="10" width="24.1"' in html
    assert "http" not in html


def test_a_page_of_a_sound_and_of_an_empty_dataset(tmp_path):
    sound = render_page(examine(write_dataset(tmp_path / "d", SOUND)))
    assert "No fault was found." in sound
    assert "steps in an episode" in sound
    assert "0</b>" in render_page(examine(write_dataset(tmp_path / "e", [])))


def test_a_page_of_a_dataset_with_a_damaged_index(tmp_path):
    folder = write_dataset(tmp_path / "d", SOUND[:1])
    (folder / "index.json").write_text("{")
    assert "damaged_file" in render_page(examine(folder))


def test_a_page_that_cannot_be_written_is_a_user_error(tmp_path):
    diagnosis = examine(write_dataset(tmp_path / "d", SOUND[:1]))
    with pytest.raises(UserError, match=r"cannot write .*page\.html"):
        write_page(tmp_path / "nowhere" / "page.html", diagnosis)
