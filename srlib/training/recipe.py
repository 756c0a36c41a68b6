"""Recipes: every number of a training, and the three profiles."""

from dataclasses import asdict, dataclass
from fractions import Fraction

from torch import nn

from srlib import models
from srlib.data.case import Case
from srlib.physics.downsampling import coarse_size, exact_scale


@dataclass(frozen=True)
class Recipe:
    """Every number of a training; lengths in voxels of the grid that is named."""

    network: str = "laptop"
    iterations: int = 5000
    window: int = 48  # fine voxels an edge that reach the loss
    halo: int = 2  # coarse voxels around the window, seen by the generator only
    crop: int = 4  # fine voxels cut off before the critic (Algorithm 1, line 6)
    batch: int = 1  # coarse cubes an iteration
    slices: int | None = 8  # random slices a direction and cube; None for all of them
    critic_steps: int = 2  # critic updates an iteration, on other slices; 0 for no critic at all
    real_candidates: int = (
        0  # real slices to choose each from, one with the coarse phases of a fake one
    )
    patch_candidates: int = (
        1  # coarse cubes to choose each from, the one whose phases are most mixed
    )
    generator_every: int = 1  # iterations to one generator update
    lr_generator: float = 5e-4
    lr_critic: float = 1e-3
    betas: tuple[float, float] = (0.0, 0.9)
    warmup: int = 50  # iterations; then flat to half, then linear to 2 %
    decay: bool = True
    gradient_penalty_weight: float = 10.0  # weight of the gradient penalty
    consistency_weight: float = 30.0  # c, of the voxel-wise loss
    consistency_threshold: float = 0.005  # b, below which the voxel-wise loss is silent
    inverse_temperature: float = 100.0  # of the softmax in the voxel-wise loss, mode "blur"
    interface_isotropy_weight: float = 100.0  # weight of the interface isotropy loss
    volume_fraction_weight: float = 0.0  # weight of the volume fraction loss
    local_fraction_weight: float = (
        100.0  # weight of the local fraction loss, if there are phases that are mixed up
    )
    checkerboard_weight: float = 0.0  # weight of the checkerboard loss
    noise_channels: int = 1
    width: int = 32
    blocks: int = 2  # residual blocks on the coarse grid
    skip: bool = True
    refine_channels: int = 16  # channels of the last layers, on the fine grid; 0 for none
    norm: bool = False  # batch normalisation in the generator, as in the published one
    renorm: bool = False  # its own statistics give way by and by, not at once at half time
    fine_noise: bool = True  # a noise value for every fine voxel reaches the last layers
    texture: int = 0  # smooth random fields they get instead, made of these values; 0 for none
    straight_through: bool = False  # the critic sees the most likely phase, as the output has it
    recompute: bool = False  # layers in the backward pass: about half the memory
    ema_decay: float = 0.998  # 0 keeps the last weights
    check_every: int = 500  # iterations between checks of the volume
    validation_size: int = 64  # coarse voxels an edge of the checked part, half as many from noise
    stop_below: float = 0.0  # mean relative error of fractions and areas that ends training

    def __post_init__(self) -> None:
        if self.network not in ("laptop", "paper"):
            raise ValueError(f"network must be 'laptop' or 'paper', not {self.network!r}")
        self._check_numbers()
        two = isinstance(self.betas, tuple | list) and len(self.betas) == 2
        if not two or not all(isinstance(b, int | float) and 0 <= b < 1 for b in self.betas):
            raise ValueError(
                f"betas must be two numbers, 0 or more and below 1, not {self.betas!r}"
            )
        if self.network == "paper":
            self._check_published()
        if self.renorm and not self.norm:
            raise ValueError("renorm is a way of norm: use norm=True with it")
        if self.slices is not None and not (isinstance(self.slices, int) and self.slices >= 1):
            raise ValueError(f"slices must be 1 or more, or None for all, not {self.slices!r}")
        least = 56 if self.network == "paper" else 8
        if self.window - 2 * self.crop < least:
            raise ValueError(
                f"a window of {self.window} leaves the critic less than {least} voxels after "
                f"cutting {self.crop} from each face: use a larger one"
            )

    def _check_numbers(self) -> None:
        """Raise a ValueError for a count or a weight that is none."""
        one = "iterations window batch patch_candidates generator_every width check_every"
        zero = "halo crop warmup noise_channels refine_channels real_candidates blocks critic_steps"
        for least, names in ((1, f"{one} validation_size"), (0, f"{zero} texture")):
            for name in names.split():
                value = getattr(self, name)
                if not isinstance(value, int) or value < least:
                    raise ValueError(
                        f"{name} must be a whole number, {least} or more, not {value!r}"
                    )
        weights = [name for name in asdict(self) if name.endswith("_weight")]
        rates = ("lr_generator", "lr_critic", "consistency_threshold", "inverse_temperature")
        for name in (*weights, *rates, "ema_decay", "stop_below"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value >= 0:
                raise ValueError(f"{name} must be a number, 0 or more, not {value!r}")
        if self.validation_size < 4:
            raise ValueError(
                f"validation_size must be 4 coarse voxels or more, not {self.validation_size}"
            )

    def _check_published(self) -> None:
        """Raise a ValueError for what the published network cannot do."""
        if self.halo:
            raise ValueError("the paper's network has no halo in training: use halo=0")
        if self.norm:
            raise ValueError("norm is of the laptop network, the paper's always has it: norm=False")
        if self.recompute:
            raise ValueError("recompute is of the laptop network: recompute=False")

    def rate(self, iteration: int) -> float:
        """Share of the full learning rates at an iteration."""
        rise = min(1.0, (iteration + 1) / self.warmup) if self.warmup else 1.0
        fall = max(0.02, min(1.0, 2 * (1 - iteration / self.iterations))) if self.decay else 1.0
        return rise * fall

    def coarse_window(self, scale_factor: float | Fraction) -> int:
        """Coarse voxels along an edge of the window."""
        return coarse_size(self.window, scale_factor)


PROFILES = {
    "smoke": Recipe(
        iterations=60, width=8, window=32, slices=4, check_every=30, validation_size=16
    ),
    "laptop": Recipe(),
    "full": Recipe(
        network="paper",
        iterations=156_000,
        window=64,
        halo=0,
        batch=8,
        slices=None,
        critic_steps=1,
        generator_every=5,
        lr_generator=1e-4,
        lr_critic=1e-4,
        betas=(0.5, 0.999),
        warmup=0,
        decay=False,
        consistency_weight=10.0,
        interface_isotropy_weight=0.0,
        fine_noise=False,
        ema_decay=0.0,
        check_every=2000,
        stop_below=0.015,
    ),
}


def fitting_window(window: int, scale_factor: float | Fraction) -> int:
    """The window next to a size that is a whole number of coarse voxels, fine voxels.

    Example:
        >>> from srlib.training.recipe import fitting_window
        >>> fitting_window(48, 4), fitting_window(48, 5)
        (48, 50)
    """
    step = exact_scale(scale_factor).numerator
    return step * max(1, round(window / step))


def build(case: Case, recipe: Recipe) -> tuple[nn.Module, list[nn.Module]]:
    """A generator and its critics: one for an isotropic case, else one an axis."""
    n, m = len(case.phases), len(case.lr_phases)
    assert case.phase_map is not None  # made with the case
    if recipe.network == "paper":
        generator = models.SuperRes(m, n, case.scale_factor, recipe.noise_channels)
    else:
        generator = models.SuperResLite(
            m,
            n,
            case.scale_factor,
            recipe.noise_channels,
            width=recipe.width,
            blocks=recipe.blocks,
            grid_alignment="corner" if case.mode == "nearest" else "centre",
            phase_map=case.phase_map.tolist(),
            skip=recipe.skip,
            refine_channels=recipe.refine_channels,
            fine_noise=recipe.fine_noise and recipe.noise_channels > 0,
            norm=recipe.norm,
            texture=recipe.texture if recipe.fine_noise and recipe.noise_channels else 0,
        )
        generator.recompute = recipe.recompute
    make = models.SuperResCritic if recipe.network == "paper" else models.SuperResLiteCritic
    return generator, [make(n) for _ in range(1 if case.normals is None else 3)]


# Changes of the laptop profile where the coarse volume does not hold all fractions, because it does
# not tell the fine phases apart or has a one-sided loss: the critic alone lets them drift, or run
# off to one phase.
HIDDEN = {"norm": True, "volume_fraction_weight": 1000.0, "inverse_temperature": 10.0}

# The same where coarse phases hide fine ones: a window has as much of a coarse phase as it has, and
# the critic should look at the rest.
MERGED = HIDDEN | {"real_candidates": 8}

# Changes of the laptop profile at scale factor 8: there a window has eight times fewer coarse
# voxels to hold it, and with the values for 4 a training can collapse to one phase. Fine noise has
# not been tried there.
AT_EIGHT = {
    "consistency_weight": 100.0,
    "interface_isotropy_weight": 50.0,
    "fine_noise": False,
    "validation_size": 32,
}

# Changes of the laptop profile between the scale factors that it was made for, 1.6, 2 and 4. At 3,
# on a sandstone whose fine images have less pore than its scan, a weight of 30 let the critic close
# all pores, with a smaller inverse temperature, too.
BETWEEN = {"consistency_weight": 100.0}

# Changes of the laptop profile without a coarse volume: noise is all there is to begin with, and
# nothing but the critic holds the output, so it must be right before the generator moves. A window
# has all the noise that reaches it, as in inference: zeros beyond its border are another material.
FROM_NOISE = {
    "norm": True,
    "renorm": True,
    "width": 24,
    "noise_channels": 8,
    "halo": 9,
    "window": 40,
    "crop": 0,
    "critic_steps": 3,
    "volume_fraction_weight": 1000.0,
    "interface_isotropy_weight": 10.0,
    "fine_noise": False,
    "iterations": 1600,
    "check_every": 400,
}

# The same for a material with directions: each of three critics sees a third of the slices.
ANISOTROPIC_FROM_NOISE = FROM_NOISE | {"iterations": 2400}

# Hidden phases at scale factor 8 are finer than a coarse voxel and come from noise too, in what
# the anchor leaves them. With five critic steps the critic holds their shares by itself; with the
# volume fraction loss, which comes late, they swing.
MERGED_AT_EIGHT = AT_EIGHT | {
    "norm": True,
    "noise_channels": 8,
    "critic_steps": 5,
    "interface_isotropy_weight": 10.0,
    "iterations": 3000,
    "real_candidates": 8,
    "consistency_weight": 1000.0,
    "inverse_temperature": 5.0,
}


# Changes of the laptop profile where the scan mixes up two phases, at scale factor 8. Texture is
# rare there, so of four windows the most mixed one is taken. The gate is about what the truth has.
MIXED_UP_AT_EIGHT = {
    "norm": True,
    "noise_channels": 8,
    "texture": 2,
    "critic_steps": 3,
    "slices": 4,
    "real_candidates": 16,
    "patch_candidates": 4,
    "consistency_weight": 1000.0,
    "inverse_temperature": 5.0,
    "consistency_threshold": 0.02,
    "local_fraction_weight": 1000.0,
    "checkerboard_weight": 100.0,
    "interface_isotropy_weight": 10.0,
    "iterations": 2400,
    "check_every": 120,
    "validation_size": 32,
    "ema_decay": 0.995,
}


# Changes of either for a comparison of many trainings: five minutes each, enough to tell arms
# apart and not to print a volume.
STUDY = {
    "iterations": 1200,
    "width": 16,
    "window": 40,
    "critic_steps": 1,
    "check_every": 120,
    "validation_size": 32,
}


def in_short(iterations: int) -> dict:
    """Changes for a training that a page makes: those of :data:`STUDY`, or less in less time.

    With fewer iterations than the study's, windows are smaller, the mean of the weights goes less
    far back, and there is one check, at the end.

    Example:
        >>> from srlib.training import in_short
        >>> in_short(300)["iterations"], in_short(300)["window"]
        (300, 24)
    """
    if iterations >= STUDY["iterations"]:
        return STUDY | {"iterations": iterations}
    less = {"window": 24, "ema_decay": 0.98, "check_every": iterations, "validation_size": 16}
    return STUDY | {"iterations": iterations} | less


def laptop_changes(case: Case) -> dict:
    """What the laptop profile changes for a :class:`srlib.data.Case`.

    The values for scale factor 8 serve from above 5 on; of those only 8 itself was judged.
    """
    if case.lr is None:
        return FROM_NOISE if case.normals is None else ANISOTROPIC_FROM_NOISE
    wide = case.scale_factor > 5
    between = {} if wide or case.scale_factor in (1.6, 2, 4) else BETWEEN
    if case.confused_phases and wide:
        return MIXED_UP_AT_EIGHT
    if len(case.phases) > len(case.lr_phases):
        return MERGED_AT_EIGHT if wide else MERGED | between
    hidden = HIDDEN if case.one_sided else {}
    return hidden | AT_EIGHT if wide else hidden | between
