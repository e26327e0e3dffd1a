"""The article's five functions, in the article's order: the whole DCGAN as a static graph.

"How AI can learn to generate pictures of cats" (Thomas Simonini, freeCodeCamp, 2018), after DCGAN (Radford
et al. 2015, arXiv:1511.06434) and GAN (Goodfellow et al. 2014, arXiv:1406.2661). Names, argument order and
variable names are the article's; `base_filters` and `image_size` are additions that default to its values.
Call the functions inside ``with tf.Graph().as_default():``.

Letters in the shapes: n images in a batch, s image size (128), c channels (3 or 1), b base_filters (64).
"""

from __future__ import annotations

from catdcgan.settings import is_image_size
from catdcgan.tf1 import tf
from catdcgan.tf1.layers import batch_normalization, conv2d, conv2d_transpose, dense


def model_inputs(
    real_dim: tuple[int, int, int], z_dim: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Make the placeholders for everything that is fed into the graph.

    Args:
        real_dim: (height, width, channels) of the real images.
        z_dim: length of a latent.

    Returns:
        ``inputs_real`` (n, height, width, channels) in [-1, 1], ``inputs_z`` (n, z_dim) in [-1, 1], and the
        scalars ``learning_rate_G`` and ``learning_rate_D``; all float32.
    """
    inputs_real = tf.placeholder(tf.float32, (None, *real_dim), name="inputs_real")
    inputs_z = tf.placeholder(tf.float32, (None, z_dim), name="input_z")
    learning_rate_G = tf.placeholder(tf.float32, (), name="learning_rate_G")
    learning_rate_D = tf.placeholder(tf.float32, (), name="learning_rate_D")
    return inputs_real, inputs_z, learning_rate_G, learning_rate_D


def discriminator(
    x: tf.Tensor, is_reuse: bool = False, alpha: float = 0.2, base_filters: int = 64
) -> tuple[tf.Tensor, tf.Tensor]:
    """Judge images: tell real cats from fakes.

    ========  ================  ====================
    layer     kernel / stride   output
    ========  ================  ====================
    conv1     5x5 / 2           s/2  x s/2  x b
    conv2     5x5 / 2           s/4  x s/4  x 2b
    conv3     5x5 / 2           s/8  x s/8  x 4b
    conv4     5x5 / 1           s/8  x s/8  x 8b
    conv5     5x5 / 2           s/16 x s/16 x 16b
    dense                       1 logit
    ========  ================  ====================

    Batch norm and leaky ReLU follow each convolution. Batch norm always uses the statistics of its batch.

    Args:
        x: images (n, s, s, c) in [-1, 1].
        is_reuse: False creates the variables, True reuses them (for the second pass, on fakes).
        alpha: slope of the leaky ReLU below zero.
        base_filters: width; every layer grows with it.

    Returns:
        ``(out, logits)``, each (n, 1): the probability that an image is real, and its logit.
    """
    with tf.variable_scope("discriminator", reuse=is_reuse):
        for layer, filters, stride in (
            (1, base_filters, 2),
            (2, base_filters * 2, 2),
            (3, base_filters * 4, 2),
            (4, base_filters * 8, 1),
            (5, base_filters * 16, 2),
        ):
            x = conv2d(
                x,
                filters,
                kernel_size=5,
                strides=stride,
                padding="SAME",
                kernel_initializer=tf.truncated_normal_initializer(stddev=0.02),
                name=f"conv{layer}",
            )
            x = batch_normalization(x, epsilon=1e-5, training=True, name=f"batch_norm{layer}")
            x = tf.nn.leaky_relu(x, alpha)

        height, width, channels = x.shape[1:]
        logits = dense(tf.reshape(x, (-1, height * width * channels)), 1, name="dense")
        return tf.sigmoid(logits), logits


def generator(
    z: tf.Tensor,
    output_channel_dim: int,
    is_train: bool = True,
    alpha: float = 0.2,
    base_filters: int = 64,
    image_size: int = 128,
) -> tf.Tensor:
    """Generate images from latents: fakes that should pass for real cats.

    ===========  ================  ====================
    layer        kernel / stride   output
    ===========  ================  ====================
    dense                          s/16 x s/16 x 16b
    trans_conv1  5x5 / 2           s/8  x s/8  x 8b
    trans_conv2  5x5 / 2           s/4  x s/4  x 4b
    trans_conv3  5x5 / 2           s/2  x s/2  x 2b
    trans_conv4  5x5 / 2           s    x s    x b
    logits       5x5 / 1           s    x s    x c
    ===========  ================  ====================

    Leaky ReLU follows every layer but the last, batch norm every ``trans_conv``; tanh ends it.

    Args:
        z: latents (n, z_dim).
        output_channel_dim: 3 for colour, 1 for grayscale.
        is_train: True creates the variables and normalizes with the batch's statistics. False reuses the
            variables of an earlier call and normalizes with the moving averages, for sampling.
        alpha: slope of the leaky ReLU below zero.
        base_filters: width; every layer grows with it.
        image_size: side of the images in pixels, a multiple of 16 from 32 up.

    Returns:
        Images (n, s, s, c) in [-1, 1].

    Raises:
        ValueError: `image_size` is not a multiple of 16 from 32 up.
    """
    if not is_image_size(image_size):
        raise ValueError(f"image_size must be a multiple of 16 from 32 up, not {image_size}")
    with tf.variable_scope("generator", reuse=not is_train):
        side = image_size // 16
        x = dense(z, side * side * base_filters * 16, name="dense")
        x = tf.reshape(x, (-1, side, side, base_filters * 16))
        x = tf.nn.leaky_relu(x, alpha)

        for layer, filters in enumerate(
            (base_filters * 8, base_filters * 4, base_filters * 2, base_filters), start=1
        ):
            x = conv2d_transpose(
                x,
                filters,
                kernel_size=5,
                strides=2,
                padding="SAME",
                kernel_initializer=tf.truncated_normal_initializer(stddev=0.02),
                name=f"trans_conv{layer}",
            )
            x = batch_normalization(x, epsilon=1e-5, training=is_train, name=f"batch_trans_conv{layer}")
            x = tf.nn.leaky_relu(x, alpha)

        logits = conv2d_transpose(
            x,
            output_channel_dim,
            kernel_size=5,
            strides=1,
            padding="SAME",
            kernel_initializer=tf.truncated_normal_initializer(stddev=0.02),
            name="logits",
        )
        return tf.tanh(logits, name="out")


def model_loss(
    input_real: tf.Tensor,
    input_z: tf.Tensor,
    output_channel_dim: int,
    alpha: float,
    smooth: float = 0.1,
    base_filters: int = 64,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Build both networks and the loss that each of them minimizes.

    Args:
        input_real: real images (n, s, s, c) in [-1, 1].
        input_z: latents (n, z_dim).
        output_channel_dim: channels of the generator's images, as in `input_real`.
        alpha: slope of the leaky ReLU below zero, in both networks.
        smooth: how far the label of real images stays below 1.
        base_filters: width of both networks.

    Returns:
        ``(d_loss, g_loss)``, scalars in nats: see `discriminator_loss` and `generator_loss`. At equilibrium,
        if `smooth` is 0, the discriminator outputs 1/2 for every image: d_loss = 2 ln 2 = 1.386 and
        g_loss = ln 2 = 0.693.

    Raises:
        ValueError: the images' side is not a multiple of 16 from 32 up.
    """
    fake = generator(
        input_z, output_channel_dim, alpha=alpha, base_filters=base_filters, image_size=input_real.shape[1]
    )
    _, logits_real = discriminator(input_real, alpha=alpha, base_filters=base_filters)
    _, logits_fake = discriminator(fake, True, alpha, base_filters)
    return discriminator_loss(logits_real, logits_fake, smooth), generator_loss(logits_fake)


def discriminator_loss(logits_real: tf.Tensor, logits_fake: tf.Tensor, smooth: float = 0.1) -> tf.Tensor:
    """The discriminator's loss: it should output 1 - `smooth` for real images and 0 for fakes.

    One-sided label smoothing (Salimans et al. 2016, arXiv:1606.03498) keeps it from becoming overconfident.

    Args:
        logits_real: the discriminator's logits (n, 1) for real images.
        logits_fake: its logits (n, 1) for generated images.
        smooth: how far the label of real images stays below 1.

    Returns:
        Scalar: mean sigmoid cross-entropy, in nats.
    """
    return _cross_entropy(logits_real, 1 - smooth) + _cross_entropy(logits_fake, 0)


def generator_loss(logits_fake: tf.Tensor) -> tf.Tensor:
    """The generator's loss: the discriminator should output 1 for fakes.

    This is the "non-saturating" loss of Goodfellow et al. 2014.

    Args:
        logits_fake: the discriminator's logits (n, 1) for generated images.

    Returns:
        Scalar: mean sigmoid cross-entropy, in nats.
    """
    return _cross_entropy(logits_fake, 1)


def _cross_entropy(logits: tf.Tensor, label: float) -> tf.Tensor:
    """Mean sigmoid cross-entropy between the logits and one label for all of them."""
    labels = tf.fill(tf.shape(logits), float(label))
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))


def model_optimizers(
    d_loss: tf.Tensor, g_loss: tf.Tensor, lr_D: tf.Tensor | float, lr_G: tf.Tensor | float, beta1: float
) -> tuple[tf.Operation, tf.Operation]:
    """Make one training step for each network, with Adam (Kingma and Ba 2014, arXiv:1412.6980).

    Each step changes the trainable variables of its own network only, and updates that network's batch-norm
    moving averages (its UPDATE_OPS).

    Args:
        d_loss: the discriminator's loss.
        g_loss: the generator's loss.
        lr_D: the discriminator's learning rate.
        lr_G: the generator's learning rate.
        beta1: Adam's decay rate of the first moment; 0.5 in DCGAN.

    Returns:
        ``(d_train_opt, g_train_opt)``.
    """
    return network_step("discriminator", d_loss, lr_D, beta1), network_step("generator", g_loss, lr_G, beta1)


def network_step(scope: str, loss: tf.Tensor, learning_rate: tf.Tensor | float, beta1: float) -> tf.Operation:
    """Make one network's training step: one half of `model_optimizers`.

    Args:
        scope: "discriminator" or "generator".
        loss: the scalar to minimize.
        learning_rate: of Adam.
        beta1: Adam's decay rate of the first moment.
    """
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS, scope)):
        optimizer = tf.train.AdamOptimizer(learning_rate, beta1=beta1)
        return optimizer.minimize(loss, var_list=tf.trainable_variables(scope))
