"""Training: recipes, the adversarial and the supervised loop, and the ways to start them."""

from srlib.training.depth import DEPTH_METHODS, DepthRecipe, Sections, fit_depth
from srlib.training.diffusion import fit_diffusion
from srlib.training.gan import SuperResTrainer, fit_superres, in_words, load_or_fit, of_training
from srlib.training.loop import Trainer
from srlib.training.recipe import PROFILES, STUDY, Recipe, in_short, laptop_changes
from srlib.training.restoration import METHODS, Pairs, RestorationRecipe, fit_restorer
from srlib.training.segmentation import fit_segmenter, segment
from srlib.training.stylegan import StyleGANTrainer, SynthesisRecipe, fit_stylegan, synthesise
from srlib.training.supervised import fit_cnn, fit_supervised
from srlib.training.validation import LIMITS, quality

__all__ = [
    "DEPTH_METHODS",
    "DepthRecipe",
    "LIMITS",
    "METHODS",
    "PROFILES",
    "Pairs",
    "Recipe",
    "RestorationRecipe",
    "STUDY",
    "Sections",
    "StyleGANTrainer",
    "SuperResTrainer",
    "SynthesisRecipe",
    "Trainer",
    "fit_cnn",
    "fit_depth",
    "fit_diffusion",
    "fit_restorer",
    "fit_segmenter",
    "fit_stylegan",
    "fit_superres",
    "fit_supervised",
    "in_short",
    "in_words",
    "laptop_changes",
    "load_or_fit",
    "of_training",
    "quality",
    "segment",
    "synthesise",
]
