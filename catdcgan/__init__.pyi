from catdcgan.animation import save_animation as save_animation
from catdcgan.data.dataset import Dataset as Dataset
from catdcgan.data.drawn import draw_cat as draw_cat
from catdcgan.data.drawn import draw_cats as draw_cats
from catdcgan.errors import CheckpointError as CheckpointError
from catdcgan.errors import DamagedError as DamagedError
from catdcgan.errors import DataError as DataError
from catdcgan.errors import DownloadError as DownloadError
from catdcgan.errors import InputError as InputError
from catdcgan.errors import PrepareError as PrepareError
from catdcgan.errors import RunError as RunError
from catdcgan.errors import TrainingError as TrainingError
from catdcgan.images import image_grid as image_grid
from catdcgan.images import plot_losses as plot_losses
from catdcgan.images import save_image as save_image
from catdcgan.images import training_strip as training_strip
from catdcgan.latents import interpolate as interpolate
from catdcgan.latents import random_latents as random_latents
from catdcgan.model import discriminator as discriminator
from catdcgan.model import generator as generator
from catdcgan.model import model_inputs as model_inputs
from catdcgan.model import model_loss as model_loss
from catdcgan.model import model_optimizers as model_optimizers
from catdcgan.run.checkpoint import read_architecture as read_architecture
from catdcgan.run.history import read_losses as read_losses
from catdcgan.sampling import sample as sample
from catdcgan.sampling import show_generator_output as show_generator_output
from catdcgan.tf1.device import describe_device as describe_device
from catdcgan.training import train as train

__all__: list[str]
__version__: str
