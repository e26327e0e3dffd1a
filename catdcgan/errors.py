"""What the command line answers with one line and no traceback."""


class InputError(ValueError):
    """Something given cannot be used. The message names it, and says what was found and what to do."""


class CheckpointError(InputError):
    """A checkpoint cannot be used; the message says what was found and what was expected."""


class DamagedError(CheckpointError):
    """A checkpoint is there, but half of it is missing or it cannot be read."""


class DataError(InputError):
    """The images cannot be used; the message names the folder or file and the remedy."""


class RunError(InputError):
    """The folder of a run cannot be used; the message says why and what to do."""


class PrepareError(InputError):
    """The source or the folder to write to cannot be used; the message names it and the remedy."""


class TrainingError(InputError):
    """Training cannot go on; the message names the step, the cause and the checkpoint to go on from."""


class DownloadError(InputError):
    """The download came to nothing; the message names the URL or file and the remedy."""
