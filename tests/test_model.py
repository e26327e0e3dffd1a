"""The article's five functions: the graph they build, and what one training step does to its variables.

Most tests share one tiny graph, width 4 at 32 pixels. The article's full width is built and never run.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
from tiny_runs import Values, author_variables

from catdcgan import Dataset
from catdcgan.model import discriminator, generator, model_inputs, model_loss, model_optimizers
from catdcgan.tf1 import tf

BATCH = 6
BETA1 = 0.3  # not the article's 0.5, to see that it is passed on
LR_D, LR_G = 1e-3, 4e-3  # nor are these, nor equal


class Gan(NamedTuple):
    """A finished graph and its ends."""

    graph: tf.Graph
    inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]
    losses: tuple[tf.Tensor, tf.Tensor]
    steps: tuple[tf.Operation, ...]
    initializer: tf.Operation

    def operations(self, kind: str, network: str) -> list[tf.Operation]:
        """The forward operations of a kind, in the order of their making; all passes of the network."""
        inside = re.compile(rf"{network}(_\d+)?/")
        return [op for op in self.graph.get_operations() if op.type == kind and inside.match(op.name)]

    def logits(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The discriminator's logits of the real and of the fake images."""
        real, fake = self.operations("BiasAdd", "discriminator")[5::6]
        return real.outputs[0], fake.outputs[0]

    def fakes(self) -> tf.Tensor:
        return self.graph.get_tensor_by_name("generator/out:0")


def build_gan(
    size: int = 32,
    channels: int = 3,
    z_dim: int = 10,
    alpha: float = 0.2,
    steps: bool = True,  # gradients are most of the building time; many tests need none
    device: str | None = None,
    **others: Any,
) -> Gan:
    with tf.Graph().as_default() as graph, tf.device(device):
        tf.set_random_seed(1)
        images, latents, lr_G, lr_D = inputs = model_inputs((size, size, channels), z_dim)
        d_loss, g_loss = losses = model_loss(images, latents, channels, alpha, **others)
        train_opts = model_optimizers(d_loss, g_loss, lr_D, lr_G, BETA1) if steps else ()
        initializer = tf.global_variables_initializer()
    graph.finalize()
    return Gan(graph, inputs, losses, train_opts, initializer)


@pytest.fixture(scope="module")
def tiny() -> Gan:
    return build_gan(base_filters=4)


@pytest.fixture(scope="module")
def full_width() -> Gan:
    return build_gan(size=128, z_dim=100)  # the article's own width is the default


class Run:
    """A session on a graph, with one batch of noise for images and one of latents to feed it with."""

    def __init__(self, gan: Gan, session: tf.Session) -> None:
        self.gan = gan
        self.session = session
        self.variables = {v.op.name: v for v in gan.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)}
        images, latents, lr_G, lr_D = gan.inputs
        rng = np.random.default_rng(0)
        self.feed = {
            images: rng.uniform(-0.7, 1, (BATCH, *images.shape[1:])),
            latents: rng.uniform(-1, 1, (BATCH, *latents.shape[1:])),
            lr_G: LR_G,
            lr_D: LR_D,
        }
        session.run(gan.initializer)

    def get(self, fetches: Any) -> Any:
        return self.session.run(fetches, self.feed)

    def discriminator_step(self) -> None:
        self.get(self.gan.steps[0])

    def generator_step(self) -> None:
        self.get(self.gan.steps[1])

    def values(self, pattern: str = "") -> Values:
        """The variables whose names match."""
        return dict(self.get({name: v for name, v in self.variables.items() if re.search(pattern, name)}))

    def assign(self, name: str, value: Any) -> None:
        initializer = self.variables[name].initializer
        value = np.broadcast_to(value, self.variables[name].shape)
        self.session.run(initializer, {initializer.inputs[1]: value})

    def moved_averages(self, network: str) -> Values:
        """The network's moving averages as they should be once its passes over this batch are counted in."""
        averages = self.values(f"{network}/.*/moving_")
        for op in self.gan.operations("FusedBatchNormV3", network):
            x = self.get(op.inputs[0]).astype(np.float64)
            layer = f"{network}/{op.name.split('/')[1]}"
            for moment, now in (
                ("mean", x.mean(axis=(0, 1, 2))),
                ("variance", x.var(axis=(0, 1, 2), ddof=1)),
            ):
                name = f"{layer}/moving_{moment}"
                averages[name] = 0.99 * averages[name] + 0.01 * now
        return averages


@contextmanager
def running(gan: Gan, **options: Any) -> Iterator[Run]:
    with tf.Session(graph=gan.graph, config=tf.ConfigProto(**options)) as session:
        yield Run(gan, session)


@pytest.fixture
def run(tiny: Gan) -> Iterator[Run]:
    with running(tiny) as run:
        yield run


def changed(before: Values, after: Values) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


def assert_close(actual: Values, expected: Values) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        rounding = 1e-5 * np.abs(value).max()
        np.testing.assert_allclose(actual[name], value, rtol=0, atol=rounding, err_msg=name)


# --- what the graph holds -------------------------------------------------------------------------------


def test_full_width_graph_holds_exactly_the_variables_of_the_authors_checkpoint(full_width: Gan) -> None:
    assert len(author_variables()) == 148
    variables = full_width.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
    assert sorted(author_variables()) == sorted(
        (v.op.name, str(v.shape.as_list()), v.dtype.base_dtype.name) for v in variables
    )
    # A variable can also be in the graph and not in the collection.
    assert [op.type for op in full_width.graph.get_operations()].count("VarHandleOp") == 148


@pytest.mark.parametrize(("network", "count"), [("generator", 24_034_819), ("discriminator", 17_484_289)])
def test_full_width_network_has_the_articles_number_of_parameters(
    network: str, count: int, full_width: Gan
) -> None:
    variables = full_width.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, f"{network}/")
    assert sum(v.shape.num_elements() for v in variables) == count


def test_placeholders_have_the_articles_names_shapes_and_types(full_width: Gan) -> None:
    assert [(x.name, x.shape.as_list(), x.dtype.name, x.op.type) for x in full_width.inputs] == [
        ("inputs_real:0", [None, 128, 128, 3], "float32", "Placeholder"),
        ("input_z:0", [None, 100], "float32", "Placeholder"),
        ("learning_rate_G:0", [], "float32", "Placeholder"),
        ("learning_rate_D:0", [], "float32", "Placeholder"),
    ]


ARTICLE_PARAMETERS = {
    model_inputs: "real_dim, z_dim",
    discriminator: "x, is_reuse=False, alpha=0.2",
    generator: "z, output_channel_dim, is_train=True, alpha=0.2",
    model_loss: "input_real, input_z, output_channel_dim, alpha, smooth=0.1",
    model_optimizers: "d_loss, g_loss, lr_D, lr_G, beta1",
}


@pytest.mark.parametrize("function", ARTICLE_PARAMETERS, ids=lambda function: function.__name__)
def test_parameters_begin_with_the_articles_and_all_others_have_defaults(
    function: Callable[..., Any],
) -> None:
    parameters = [
        p.name if p.default is p.empty else f"{p.name}={p.default}"
        for p in inspect.signature(function).parameters.values()
    ]
    articles = ARTICLE_PARAMETERS[function].split(", ")
    assert parameters[: len(articles)] == articles
    assert all("=" in parameter for parameter in parameters[len(articles) :])


def layer_table(gan: Gan, network: str) -> list[tuple[str, list[int | None]]]:
    """For each leaky ReLU, in order: the kind of operation before it and the shape it makes."""
    return [
        (op.inputs[0].op.type, op.outputs[0].shape.as_list()) for op in gan.operations("LeakyRelu", network)
    ]


@pytest.mark.parametrize(
    ("size", "width", "channels"),
    [
        pytest.param(128, 64, 3, id="the article's"),
        pytest.param(32, 4, 3, id="tiny"),
        pytest.param(32, 8, 1, id="twice as wide and grayscale"),
        pytest.param(48, 4, 3, id="48 px", marks=pytest.mark.tutorial_bug(25)),
        pytest.param(80, 4, 1, id="80 px and grayscale", marks=pytest.mark.tutorial_bug(25)),
        pytest.param(256, 4, 3, id="256 px", marks=pytest.mark.tutorial_bug(25)),
    ],
)
def test_layers_follow_the_tables_at_every_size_and_width(size: int, width: int, channels: int) -> None:
    gan = build_gan(size=size, channels=channels, base_filters=width, steps=False)
    norm = "FusedBatchNormV3"
    one_pass = [
        (norm, [None, size // 2, size // 2, width]),
        (norm, [None, size // 4, size // 4, 2 * width]),
        (norm, [None, size // 8, size // 8, 4 * width]),
        (norm, [None, size // 8, size // 8, 8 * width]),
        (norm, [None, size // 16, size // 16, 16 * width]),
    ]
    assert layer_table(gan, "discriminator") == one_pass + one_pass
    assert layer_table(gan, "generator") == [
        ("Reshape", [None, size // 16, size // 16, 16 * width]),  # no batch norm after the dense layer
        (norm, [None, size // 8, size // 8, 8 * width]),
        (norm, [None, size // 4, size // 4, 4 * width]),
        (norm, [None, size // 2, size // 2, 2 * width]),
        (norm, [None, size, size, width]),
    ]
    assert gan.fakes().shape.as_list() == [None, size, size, channels]
    assert [logits.shape.as_list() for logits in gan.logits()] == [[None, 1], [None, 1]]
    (kernel,) = gan.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES, "discriminator/dense/kernel")
    assert kernel.shape.as_list() == [(size // 16) ** 2 * 16 * width, 1]


def test_every_batch_norm_has_the_articles_epsilon(tiny: Gan) -> None:
    epsilons = [
        op.get_attr("epsilon")
        for network in ("discriminator", "generator")
        for op in tiny.operations("FusedBatchNormV3", network)
    ]
    assert epsilons == pytest.approx([1e-5] * 14)


@pytest.mark.parametrize("size", [0, 16, 31, 40, 100, -32])
def test_unfit_image_size_is_one_clear_error(size: int) -> None:
    with tf.Graph().as_default(), pytest.raises(ValueError, match=f"multiple of 16 from 32 up, not {size}"):
        generator(tf.zeros((2, 10)), 3, base_filters=4, image_size=size)


@pytest.mark.tutorial_bug(1)
def test_generator_takes_alpha_as_a_parameter_and_needs_no_global() -> None:
    def slopes(**arguments: Any) -> set[float]:
        with tf.Graph().as_default() as graph:
            generator(tf.zeros((2, 10)), 3, base_filters=4, image_size=32, **arguments)
        found = [op.get_attr("alpha") for op in graph.get_operations() if op.type == "LeakyRelu"]
        assert len(found) == 5
        return {round(slope, 6) for slope in found}

    assert slopes() == {0.2}
    assert slopes(alpha=0.35) == {0.35}


def test_model_loss_passes_alpha_to_both_networks() -> None:
    gan = build_gan(base_filters=4, alpha=0.35, steps=False)
    for network, count in (("discriminator", 10), ("generator", 5)):
        slopes = [op.get_attr("alpha") for op in gan.operations("LeakyRelu", network)]
        assert slopes == pytest.approx([0.35] * count)


@pytest.mark.tutorial_bug(2)
def test_every_layer_of_the_generator_is_built_once(tiny: Gan) -> None:
    layers = [op.name.split("/")[1] for op in tiny.operations("Conv2DBackpropInput", "generator")]
    assert layers == ["trans_conv1", "trans_conv2", "trans_conv3", "trans_conv4", "logits"]


@pytest.mark.tutorial_bug(14)
def test_grayscale_builds_and_trains() -> None:
    gan = build_gan(channels=1, base_filters=4)
    with running(gan) as run:
        start = run.values()
        run.discriminator_step()
        run.generator_step()
        after = run.values()
        assert after["generator/logits/kernel"].shape == (5, 5, 1, 4)
        assert {"generator/logits/kernel", "discriminator/conv1/kernel"} <= changed(start, after)
        assert all(np.isfinite(value).all() for value in after.values())
        assert run.get(gan.fakes()).shape == (BATCH, 32, 32, 1)


def test_nothing_leaks_out_of_the_given_graph() -> None:
    with tf.Graph().as_default() as outer:
        build_gan(base_filters=4)
        assert outer.get_operations() == []
        assert outer.get_all_collection_keys() == []
    assert tf.executing_eagerly(), "version 2 behaviour was switched off for everyone"


def test_networks_are_placed_on_the_device_asked_for_and_run_where_it_is_missing() -> None:
    gan = build_gan(base_filters=4, device="/GPU:0")
    # Some others, such as reading a variable, are placed beside what they belong to.
    heavy = re.compile("VarHandleOp|MatMul|Conv2D|BiasAdd|FusedBatchNorm|LeakyRelu|ResourceApplyAdam")
    devices = [op.device for op in gan.graph.get_operations() if heavy.match(op.type)]
    assert len(devices) > 300
    assert set(devices) == {"/device:GPU:0"}
    with running(gan, allow_soft_placement=True) as run:
        run.discriminator_step()
        run.generator_step()
        assert np.isfinite(run.get(gan.losses)).all()


# --- what it computes -----------------------------------------------------------------------------------


def test_initial_values_are_the_articles(run: Run) -> None:
    values = run.values("^(discriminator|generator)/(?!.*Adam)")
    kernels = {
        name: value for name, value in values.items() if re.search("conv.*/kernel|logits/kernel", name)
    }
    assert len(kernels) == 10
    for name, kernel in kernels.items():
        # Truncated at two standard deviations, which leaves 0.88 of the deviation.
        assert np.abs(kernel).max() <= 0.04, name
        assert kernel.std() == pytest.approx(0.02 * 0.8796, rel=3 / math.sqrt(kernel.size)), name
    for network in ("discriminator", "generator"):
        kernel = values.pop(f"{network}/dense/kernel")
        limit = math.sqrt(6 / sum(kernel.shape))  # Glorot uniform
        assert 0.95 * limit < np.abs(kernel).max() <= limit
    for name in values.keys() - kernels.keys():
        assert set(values[name]) == {1.0 if re.search("gamma|variance", name) else 0.0}, name


@pytest.mark.tutorial_bug(10)
def test_fake_and_real_pixels_share_one_range(run: Run) -> None:
    run.assign("generator/logits/bias", [20, -20, 0])  # as bright, as dark as can be, and in between
    fake = run.get(run.gan.fakes())
    np.testing.assert_allclose(fake[..., 0], 1, atol=1e-6)
    np.testing.assert_allclose(fake[..., 1], -1, atol=1e-6)
    assert np.abs(fake[..., 2]).max() < 0.9

    black_and_white = np.stack([np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)])
    (real,) = Dataset.from_array(black_and_white).get_batches(2)
    np.testing.assert_allclose([real.min(), real.max()], [fake.min(), fake.max()], atol=1e-6)


def test_discriminators_output_is_the_sigmoid_of_its_logits() -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        x = np.random.default_rng(0).uniform(-1, 1, (BATCH, 32, 32, 3)).astype(np.float32)
        outputs = discriminator(tf.constant(x), base_filters=4)
        sess.run(tf.global_variables_initializer())
        out, logits = sess.run(outputs)
    assert np.abs(logits).max() > 0.1
    np.testing.assert_allclose(out, 1 / (1 + np.exp(-logits)), rtol=1e-5)


def cross_entropy(logits: np.ndarray, label: float) -> float:
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return float(np.mean(-label * np.log(probability) - (1 - label) * np.log(1 - probability)))


@pytest.mark.tutorial_bug(13)
@pytest.mark.parametrize(("arguments", "real_label"), [({}, 0.9), ({"smooth": 0.3}, 0.7)])
def test_smoothing_lowers_the_label_of_real_images_only(arguments: dict[str, Any], real_label: float) -> None:
    gan = build_gan(base_filters=4, steps=False, **arguments)
    with running(gan) as run:
        run.assign("discriminator/dense/bias", 0.7)  # at logits around 0 the label would make no difference
        (d_loss, g_loss), (real, fake) = run.get((gan.losses, gan.logits()))
    assert d_loss == pytest.approx(cross_entropy(real, real_label) + cross_entropy(fake, 0), rel=1e-5)
    assert g_loss == pytest.approx(cross_entropy(fake, 1), rel=1e-5)


def test_losses_of_an_undecided_discriminator_are_those_of_equilibrium() -> None:
    gan = build_gan(base_filters=4, smooth=0.0, steps=False)
    with running(gan) as run:
        run.assign("discriminator/dense/kernel", 0)
        d_loss, g_loss = run.get(gan.losses)
    assert d_loss == pytest.approx(2 * math.log(2))
    assert g_loss == pytest.approx(math.log(2))


def test_discriminator_always_uses_the_statistics_of_its_batch(run: Run) -> None:
    before = run.get(run.gan.logits())
    for name in run.values("discriminator/.*/moving_"):
        run.assign(name, 9)
    np.testing.assert_allclose(run.get(run.gan.logits()), before, rtol=1e-5, atol=1e-6)


def test_generator_for_viewing_uses_moving_averages_and_adds_no_variable_and_no_update() -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        z = tf.placeholder(tf.float32, (None, 10))
        training = generator(z, 3, base_filters=4, image_size=32)
        before = tf.global_variables(), tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        viewing = generator(z, 3, is_train=False, base_filters=4, image_size=32)
        assert (tf.global_variables(), tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == before

        sess.run(tf.global_variables_initializer())
        latents = np.random.default_rng(0).uniform(-1, 1, (BATCH, 10))
        together, alone = sess.run(viewing, {z: latents}), sess.run(viewing, {z: latents[:1]})
        # Seen with moving averages, a picture does not depend on its neighbours in the batch.
        np.testing.assert_allclose(together[:1], alone, atol=1e-5)
        assert np.abs(sess.run(training, {z: latents})[:1] - together[:1]).max() > 0.01
        for variable in tf.global_variables():
            if "moving_variance" in variable.op.name:
                sess.run(
                    variable.initializer, {variable.initializer.inputs[1]: np.full(variable.shape, 0.01)}
                )
        assert np.abs(sess.run(viewing, {z: latents}) - together).max() > 0.01


# --- what a training step changes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "step"),
    [("discriminator", Run.discriminator_step), ("generator", Run.generator_step)],
    ids=["discriminator", "generator"],
)
def test_each_step_trains_its_own_network_only(network: str, step: Callable[[Run], None], run: Run) -> None:
    trainable = {v.op.name for v in run.gan.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)}
    before = run.values()
    step(run)
    trained = changed(before, run.values()) & trainable
    own = {name for name in trainable if name.startswith(f"{network}/")}
    # The batch norm after a convolution takes its bias away again: that one has no gradient but rounding.
    idle = {name for name in own if re.search(r"conv\d/bias", name)}
    assert own - idle <= trained <= own


@pytest.mark.parametrize(
    ("network", "step", "learning_rate"),
    [("discriminator", Run.discriminator_step, LR_D), ("generator", Run.generator_step, LR_G)],
    ids=["discriminator", "generator"],
)
def test_each_step_is_adam_with_its_own_learning_rate_and_the_given_beta1(
    network: str, step: Callable[[Run], None], learning_rate: float, run: Run
) -> None:
    name = f"{network}/dense/kernel"
    before = run.values(name)[name]
    step(run)
    after = run.values(name)
    # Adam's first step goes by the learning rate, up or down, whatever the gradient.
    assert np.median(np.abs(after[name] - before)) == pytest.approx(learning_rate, rel=0.01)
    # Its averages are then (1 - beta1) gradient and (1 - beta2) gradient squared.
    ratio = np.abs(after[f"{name}/Adam"]) / np.sqrt(after[f"{name}/Adam_1"])
    assert np.median(ratio) == pytest.approx((1 - BETA1) / math.sqrt(1 - 0.999), rel=1e-3)


@pytest.mark.parametrize(
    ("loss", "step"),
    [(0, Run.discriminator_step), (1, Run.generator_step)],
    ids=["discriminator", "generator"],
)
def test_each_step_lowers_its_own_loss(loss: int, step: Callable[[Run], None], run: Run) -> None:
    before = run.get(run.gan.losses[loss])
    for _ in range(5):
        step(run)
    assert run.get(run.gan.losses[loss]) < before - 0.1


@pytest.mark.tutorial_bug(15)
def test_generators_moving_averages_move_once_an_iteration_and_not_in_the_discriminator_step(
    run: Run,
) -> None:
    start = run.values("generator/.*/moving_")
    expected = run.moved_averages("generator")
    assert len(changed(start, expected)) == 8
    run.discriminator_step()
    assert changed(start, run.values("generator/.*/moving_")) == set()
    run.generator_step()
    assert_close(run.values("generator/.*/moving_"), expected)


@pytest.mark.tutorial_bug(16)
def test_discriminators_moving_averages_move_in_its_own_step_by_the_real_and_then_the_fake_batch(
    run: Run,
) -> None:
    start = run.values("discriminator/.*/moving_")
    expected = run.moved_averages("discriminator")
    assert len(changed(start, expected)) == 10
    run.generator_step()
    assert changed(start, run.values("discriminator/.*/moving_")) == set()

    expected = run.moved_averages("discriminator")  # the fakes are others now
    run.discriminator_step()
    assert_close(run.values("discriminator/.*/moving_"), expected)
