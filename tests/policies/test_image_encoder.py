"""What a policy makes of images: windows, pixels, cameras, and its conditioning by hand."""

from functools import partial

import pytest
import torch
from torch import nn

from robofb.errors import UserError
from robofb.nets.mlp import MlpDenoiser
from robofb.nets.vision import AveragePool, ResNet
from robofb.policies.diffusion import DiffusionPolicy
from robofb.policies.image_encoder import PIXEL_MEAN, PIXEL_STD, ImageEncoder
from robofb.types import ArraySpec, EnvSpec

SPEC = EnvSpec(
    task="seen",
    obs={
        "state": ArraySpec((3,), unit="m", names=("ee_x", "leg_x", "ee_y")),
        "goal": ArraySpec((1,), unit="m"),
        "image_front": ArraySpec((3, 10, 20), "uint8"),
        "image_wrist": ArraySpec((3, 8, 8), "uint8"),
        "image_grey": ArraySpec((1, 8, 8), "uint8"),
    },
    action=ArraySpec((2,), unit="m"),
    control_dt=0.1,
    max_steps=20,
)
IMAGES = {key: SPEC.obs[key] for key in ("image_front", "image_wrist")}


class Mean(nn.Module):
    """A network without weights: its maps are its images."""

    def __init__(self):
        super().__init__()
        self.num_channels = 3
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        return images


def encoder(**changes):
    given = {"network": Mean, "pooling": AveragePool, "num_features": 3, **changes}
    made = ImageEncoder(changes.pop("images", IMAGES), **{k: v for k, v in given.items() if k != "images"})
    for part in made.encoders:
        nn.init.eye_(part.project.weight)
        nn.init.zeros_(part.project.bias)
    return made


def pictures(levels, key):
    """Return (1, To, 3, H, W) images that are `levels` all over, frame after frame."""
    shape = IMAGES[key].shape
    return torch.stack([torch.full(shape, level, dtype=torch.uint8) for level in levels])[None]


def test_pixels_by_hand():
    encoded = encoder()(
        {"image_front": pictures([255, 0], "image_front"), "image_wrist": pictures([51, 51], "image_wrist")}
    )
    mean, std = torch.tensor(PIXEL_MEAN), torch.tensor(PIXEL_STD)
    expected = [torch.cat([(1 - mean) / std, -mean / std]), torch.cat([(0.2 - mean) / std] * 2)]
    for found, wanted in zip(encoded, expected, strict=True):
        torch.testing.assert_close(found, wanted[None])


def test_the_window_is_the_middle_and_a_cut_image_is_left_alone():
    made = encoder(crop={"image_front": [0.6, 0.5]})
    assert made.crops == {"image_front": (6, 10)}
    image = torch.randint(0, 256, (2, 1, 3, 10, 20), dtype=torch.uint8)
    wrist = torch.zeros(2, 1, 3, 8, 8, dtype=torch.uint8)
    whole = made({"image_front": image, "image_wrist": wrist})
    cut = made({"image_front": image[..., 2:8, 5:15], "image_wrist": wrist})
    assert torch.equal(whole[0], cut[0])
    elsewhere = made({"image_front": image[..., 1:7, 5:15], "image_wrist": wrist})
    assert not torch.equal(whole[0], elsewhere[0])


def test_windows_are_scaled():
    made = encoder(resize=[4, 5])
    made({"image_front": pictures([7], "image_front"), "image_wrist": pictures([7], "image_wrist")})
    assert [part.network.seen[0].shape for part in made.encoders] == [(1, 3, 4, 5)] * 2


def test_one_network_for_each_camera_or_one_for_all():
    tiny = partial(ResNet, channels=[4], blocks=[1], strides=[1], group_size=2)
    own, shared = (encoder(network=tiny, shared=shared) for shared in (False, True))
    assert (len(own.encoders), len(shared.encoders)) == (2, 1)
    assert own.num_features == shared.num_features == 6
    same = torch.randint(0, 256, (2, 1, 3, 8, 8), dtype=torch.uint8)
    for made, equal in ((own, False), (shared, True)):
        first, second = made({"image_front": same, "image_wrist": same})
        assert first.shape == (2, 3)
        assert torch.equal(first, second) is equal


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"crop": {"image_side": [0.5, 0.5]}},
            "crop.image_side: the policy sees no such image; valid: image_fr",
        ),
        ({"crop": {"image_front": [0.5]}}, "needs shares .height,width., above 0"),
        ({"crop": {"image_front": [0.5, 1.5]}}, "at most 1"),
        ({"crop": {"image_front": 3}}, "crop.image_front=3: needs shares"),
        ({"crop": {"image_front": [76, 76]}}, r"crop.image_front=\[76, 76\]: needs shares"),
        ({"crop": {"image_front": ["a", "b"]}}, "crop.image_front=.*: needs shares"),
        ({"crop": 0.5}, r"crop=0.5: needs shares by image: {image_front:\[0.9,0.9\]}"),
        ({"resize": [5]}, r"resize=\[5\]"),
        ({"resize": 5}, "resize=5"),
        ({"resize": [8.5, 8]}, r"resize=\[8.5, 8\]"),
        ({"num_features": 0}, "num_features=0"),
        ({"images": {"image_grey": SPEC.obs["image_grey"]}}, "'image_grey' has 1 channels.* needs RGB"),
    ],
)
def test_refuses_in_one_line(changes, words):
    with pytest.raises(UserError, match=words) as error:
        encoder(**changes)
    assert "\n" not in str(error.value)


def policy(image_encoder=None, **changes):
    torch.manual_seed(0)
    made = DiffusionPolicy(
        SPEC,
        partial(MlpDenoiser, width=16, num_blocks=1),
        horizon=4,
        execute=2,
        image_encoder=image_encoder,
        **changes,
    )
    made.set_stats({
        "state": dict(zip(("min", "max", "mean", "std"), ([0.0] * 3, [2.0] * 3, [1.0] * 3, [1.0] * 3))),
        "goal": {"min": [0.0], "max": [2.0], "mean": [1.0], "std": [1.0]},
        "action": {"min": [0.0] * 2, "max": [2.0] * 2, "mean": [1.0] * 2, "std": [1.0] * 2},
    })  # fmt: skip
    return made


SEES = partial(ImageEncoder, network=Mean, pooling=AveragePool, num_features=2)


def test_the_conditioning_is_flat_keys_then_cameras_each_oldest_first():
    made = policy(SEES, obs_keys=["image_front", "state", "goal"], elements={"state": ["ee_"]}, obs_history=2)
    assert made.spec.obs.keys() == {"image_front", "state", "goal"}
    state = torch.tensor([[[0.0, 9.0, 2.0], [1.0, 9.0, 0.5]]])
    front = pictures([0, 255], "image_front")
    cond = made.encode({"state": state, "goal": torch.tensor([[[2.0], [1.0]]]), "image_front": front})
    torch.testing.assert_close(cond[0, :6], torch.tensor([-1.0, 1.0, 0.0, -0.5, 1.0, 0.0]))
    torch.testing.assert_close(cond[0, 6:], made.image_encoder({"image_front": front})[0][0])
    assert cond.shape == (1, 10)


def test_a_policy_without_images_is_what_it_was():
    """Same names, and the weights that the seed gave before there were images."""
    made = policy(obs_keys=["state"])
    assert not any("image" in name or "element" in name for name in made.state_dict())
    torch.manual_seed(0)
    network = MlpDenoiser(action_dim=2, horizon=4, cond_dim=3, width=16, num_blocks=1)
    for name, weight in network.state_dict().items():
        assert torch.equal(made.state_dict()[f"denoiser.{name}"], weight), name


@pytest.mark.parametrize(
    ("image_encoder", "changes", "words"),
    [
        (
            None,
            {"obs_keys": ["state", "image_front"]},
            "'image_front' is not a flat vector.*valid: state, goal$",
        ),
        (SEES, {"obs_keys": ["state", "image_side"]}, "needs an image of task seen; there are: image_front"),
        (
            SEES,
            {"obs_keys": ["image_front", "image_side"]},
            "'image_side' is not observed.*state, goal, image_fr",
        ),
        (SEES, {"obs_keys": ["state"]}, "obs_keys: state: an image encoder needs an image"),
        (
            None,
            {"obs_keys": ["state"], "elements": {"state": ["arm_"]}},
            "no element begins with 'arm_'.*ee_x, leg_x",
        ),
        (None, {"obs_keys": ["state"], "elements": {"state": []}}, "elements.state is empty"),
        (
            None,
            {"obs_keys": ["state"], "elements": {"state": "ee_"}},
            "elements.state=ee_: needs a list.*: .ee_.",
        ),
        (
            None,
            {"obs_keys": ["state"], "elements": {"goal": ["x"]}},
            "elements.goal: not among the flat obs_keys",
        ),
        (None, {"obs_keys": ["goal"], "elements": {"goal": ["x"]}}, "there are: no names"),
    ],
)
def test_a_policy_refuses_in_one_line(image_encoder, changes, words):
    with pytest.raises(UserError, match=words) as error:
        policy(image_encoder, **changes)
    assert "\n" not in str(error.value)


def test_weights_for_no_network_are_refused():
    with pytest.raises(UserError, match=r"weights resnet18.pt: the policy sees no images"):
        policy(obs_keys=["state"]).image_encoder.load_pretrained("resnet18.pt")
