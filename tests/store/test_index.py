"""The index of a dataset, as a file and by its fingerprint."""

import hashlib

from episode_examples import SPEC, make_episode

from robofb.store.episodes import EpisodeStore
from robofb.store.index import INDEX_FILE, fingerprint


def test_the_fingerprint_is_that_of_the_file(tmp_path):
    with EpisodeStore.create(tmp_path / "d", SPEC) as store:
        for count in range(3):
            content = (tmp_path / "d" / INDEX_FILE).read_bytes()
            assert fingerprint(store.entries) == hashlib.sha256(content).hexdigest()
            store.append(make_episode(count))
