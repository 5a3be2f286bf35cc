"""The agent: its regions, its loop against NumPy, and what each loss moves in it."""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from ram_tf.models import policy_gradient
from ram_tf.models.attention.region_lstm import DESCRIPTIONS
from ram_tf.models.attention.region_scales import regions_at
from ram_tf.models.attention.reinforced_attention import ReinforcedAttention
from ram_tf.models.attention.spatial_transformer import sample_region, theta_to_matrix
from tests.support.numpy_reference import read_by_numpy

LABELS, CHANNELS, STEPS = 3, 4, 3
WHOLE = [1.0, 1.0, 0.0, 0.0]
STARTS = [[0.0, 0.0], [0.5, -0.5], [-0.3, 0.8]]


@pytest.fixture
def features():
    shape = (2, 5, 6, CHANNELS)
    return np.random.default_rng(0).uniform(size=shape).astype("float32")


def make_agent(randomly=True, **arguments):
    """A built layer; `randomly` sets every weight, so that nothing hides behind 0."""
    arguments = {
        "num_steps": STEPS,
        "units": 8,
        "region_size": (4, 4),
        "region_pooling": "average",
        "layout_channels": 2,
        "sides": (0.2, 0.5),
        **arguments,
    }
    layer = ReinforcedAttention(LABELS, **arguments)
    layer.build((None, None, None, CHANNELS))
    if randomly:
        rng = np.random.default_rng(1)
        for variable in layer.trainable_variables:
            variable.assign(rng.normal(0, 0.5, variable.shape))
    return layer


def loop_by_numpy(layer, features, locations=None):
    """The loop of the layer's docstring, at its means or at given locations.

    Args:
        layer: The agent, whose weights are used.
        features: `(n, H, W, C)`.
        locations: `(n, T, 2)`; None for the means.
    """
    size, scales = layer.region_size, layer.scales
    zeros = np.zeros((len(features), layer.units))
    region = sample_region(features, [WHOLE] * len(features), size).numpy()
    _, (hidden, memory), _ = read_by_numpy(layer.region_lstm, region, [zeros, zeros])
    found = {"regions": [], "region_scores": [], "means": [], "baselines": []}
    found |= {name: [] for name in DESCRIPTIONS}
    for t in range(layer.num_steps):
        if layer.learns_locations:
            own = min(t, layer.location_bias.shape[0] - 1)
            w_loc, b_loc = (v.numpy()[own] for v in layer.theta_variables)
            mean = np.tanh(hidden @ w_loc + b_loc)
            kernel, bias = layer.baseline.get_weights()
            found["means"].append(mean)
            found["baselines"].append((hidden @ kernel + bias)[:, 0])
        location = mean if locations is None else np.clip(locations[:, t], -1, 1)
        states = []
        for s_x, s_y in scales:
            theta = [[s_x, s_y, *place] for place in location]
            theta = np.array(theta, "float32")
            region = sample_region(features, theta, size).numpy()
            spoken, state, vectors = read_by_numpy(
                layer.region_lstm, region, [hidden, memory]
            )
            states.append(state)
            found["regions"].append(theta_to_matrix(theta))
            found["region_scores"].append(spoken)
            for name in DESCRIPTIONS:
                found[name].append(vectors[name])
        hidden, memory = np.mean(states, 0)
    return {name: np.stack(v, 1) for name, v in found.items() if v}


def assert_same(actual, expected, names=("regions", "region_scores"), tolerance=1e-5):
    for name in names:
        np.testing.assert_allclose(
            actual[name], expected[name], tolerance, tolerance, err_msg=name
        )


@pytest.mark.parametrize("starts", [None, STARTS], ids=["one f_loc", "one a step"])
@pytest.mark.parametrize("pooling", ["centre", "flatten"])
def test_layer_equals_the_plain_loop_of_its_docstring(features, starts, pooling):
    layer = make_agent(starts=starts, region_pooling=pooling)
    outputs = layer(features)
    assert set(outputs) == {"regions", "region_scores"}
    assert outputs["regions"].shape == (2, STEPS * 6, 2, 3)
    assert outputs["region_scores"].shape == (2, STEPS * 6, LABELS)
    assert_same(outputs, loop_by_numpy(layer, features))


@pytest.mark.parametrize("episodes", [1, 3])
def test_training_samples_around_the_means_and_looks_there(features, episodes):
    layer = make_agent(starts=STARTS, episodes=episodes, sigma=0.8)
    outputs = layer(features, training=True)
    locations = outputs["locations"].numpy()
    assert locations.shape == (2 * episodes, STEPS, 2)
    assert np.abs(locations).max() > 1  # some are clipped to be looked at
    repeated = np.repeat(features, episodes, 0)
    expected = loop_by_numpy(layer, repeated, locations)
    assert_same(outputs, expected, ("regions", "region_scores", "baselines"))
    logarithms = stats.norm(expected["means"], 0.8).logpdf(locations).sum(-1)
    np.testing.assert_allclose(outputs["log_probabilities"], logarithms, rtol=1e-4)


def test_samples_have_the_means_and_the_deviation_of_the_policy(features):
    layer = make_agent(randomly=False, starts=STARTS, episodes=2000, sigma=0.3)
    locations = layer(features, training=True)["locations"].numpy()
    # 4000 of them: a standard error of 0.005.
    np.testing.assert_allclose(locations.mean(0), STARTS, atol=0.025)
    np.testing.assert_allclose(locations.std(0), np.full((STEPS, 2), 0.3), atol=0.02)


def test_inference_takes_the_mean_and_draws_nothing(features):
    layer = make_agent()
    assert_same(layer(features), layer(features), tolerance=0)
    before = layer.seed_generator.state.numpy()
    layer(features)
    np.testing.assert_array_equal(layer.seed_generator.state, before)


def test_what_is_sampled_depends_on_the_seed_and_changes_with_each_call(features):
    def sampled(layer):
        return layer(features, training=True)["locations"].numpy()

    first, again, other = (make_agent(seed=seed) for seed in (3, 3, 4))
    calls = [sampled(first), sampled(first)]
    np.testing.assert_array_equal(sampled(again), calls[0])
    assert np.abs(calls[1] - calls[0]).min() > 0
    assert np.abs(sampled(other) - calls[0]).min() > 0


def centres(outputs, regions=6):
    return outputs["regions"].numpy()[:, ::regions, :, 2]


def test_random_locations_fill_the_image_and_are_drawn_for_each_step(features):
    layer = make_agent(locations="random", episodes=500)
    outputs = layer(features, training=True)
    drawn = centres(outputs)
    assert "log_probabilities" not in outputs
    assert_same(outputs, loop_by_numpy(layer, np.repeat(features, 500, 0), drawn))
    # Uniform: variance 1/3; steps are independent.
    np.testing.assert_allclose(drawn.mean((0, 2)), np.zeros(STEPS), atol=0.06)
    np.testing.assert_allclose(drawn.var((0, 2)), np.full(STEPS, 1 / 3), atol=0.03)
    correlation = np.corrcoef(drawn.reshape(1000, -1).T) - np.eye(2 * STEPS)
    assert np.abs(correlation).max() < 0.15
    assert layer.theta_variables == []


def test_random_locations_at_inference_are_the_same_for_the_same_batch(features):
    layer, other = (
        make_agent(locations="random"),
        make_agent(locations="random", seed=5),
    )
    first = centres(layer(features))
    layer(features, training=True)
    np.testing.assert_array_equal(centres(layer(features)), first)
    assert np.abs(centres(other(features)) - first).min() > 0


@pytest.mark.parametrize("training", [False, True])
def test_fixed_locations_are_the_starts_in_one_episode(features, training):
    layer = make_agent(locations="fixed", starts=STARTS, episodes=4)
    outputs = layer(features, training=training)
    expected = loop_by_numpy(layer, features, np.tile([STARTS], (2, 1, 1)))
    assert_same(outputs, expected)
    assert set(outputs) == {"regions", "region_scores"}


def test_fresh_means_are_the_starts(features):
    layer = make_agent(randomly=False, starts=STARTS)
    np.testing.assert_allclose(centres(layer(features)), [STARTS] * 2, atol=1e-6)
    layer = make_agent(randomly=False)
    assert [v.shape[0] for v in layer.theta_variables] == [1, 1]
    np.testing.assert_array_equal(centres(layer(features)), np.zeros((2, STEPS, 2)))


@pytest.mark.parametrize("which", DESCRIPTIONS)
def test_descriptions_are_those_of_each_region(features, which):
    layer = make_agent()
    outputs, expected = layer(features, describe=which), loop_by_numpy(layer, features)
    assert_same(outputs, expected)
    np.testing.assert_allclose(
        outputs["descriptions"], expected[which], rtol=1e-4, atol=1e-5
    )


def reached(layer, features, lose):
    """The names of the variables that a loss of the layer's outputs moves."""
    features = tf.convert_to_tensor(features)
    with tf.GradientTape() as tape:
        tape.watch(features)
        loss = lose(layer(features, training=True))
    sources = [features, *layer.trainable_variables]
    names = ["features", *(v.path.partition("/")[2] for v in layer.trainable_variables)]
    return {
        name.removeprefix("region_lstm/").partition("/")[0]
        for name, gradient in zip(names, tape.gradient(loss, sources), strict=True)
        if gradient is not None and np.abs(tf.convert_to_tensor(gradient)).max() > 1e-9
    }


@pytest.mark.parametrize("steps", [1, STEPS])
def test_the_classification_does_not_move_locations(features, steps):
    layer = make_agent(num_steps=steps, units=32)
    moved = reached(layer, features, lambda o: tf.reduce_sum(o["region_scores"] ** 2))
    assert moved == {"features", "layout", "W_fx", "lstm", "W_hz", "W_zs"}


@pytest.mark.parametrize("steps", [1, STEPS])
def test_the_policy_gradient_reaches_the_lstm_and_the_features(features, steps):
    layer = make_agent(num_steps=steps, units=32)
    moved = reached(layer, features, lambda o: tf.reduce_sum(o["log_probabilities"]))
    assert moved == {"features", "layout", "W_fx", "lstm", "W_loc", "b_loc"}


def test_the_baseline_moves_itself_alone(features):
    layer = make_agent(units=32)
    moved = reached(layer, features, lambda o: tf.reduce_sum(o["baselines"] ** 2))
    assert moved == {"baseline"}


def test_where_the_agent_looks_has_no_gradient(features):
    layer = make_agent(units=32)
    for name in ("regions", "locations"):
        lose = lambda o, name=name: tf.reduce_sum(o[name] ** 2)  # noqa: E731
        assert reached(layer, features, lose) == set()


def test_the_policy_gradient_is_that_of_the_log_probability_through_numpy(features):
    # d log pi / d b_loc = (l - m) / sigma^2 * (1 - m^2), with one step.
    layer = make_agent(num_steps=1, episodes=5, sigma=0.3)
    with tf.GradientTape() as tape:
        outputs = layer(features, training=True)
        loss = tf.reduce_sum(outputs["log_probabilities"])
    locations = outputs["locations"].numpy()
    expected = loop_by_numpy(layer, np.repeat(features, 5, 0), locations)["means"]
    expected = ((locations - expected) / 0.3**2 * (1 - expected**2)).sum((0, 1))
    gradient = tf.convert_to_tensor(tape.gradient(loss, layer.location_bias))
    np.testing.assert_allclose(gradient[0], expected, rtol=1e-3)


def test_the_policy_gradient_of_later_steps_comes_back_through_the_states(features):
    # Against differences of the plain loop in float64, at the locations as sampled.
    sigma = 0.3
    layer = make_agent(sigma=sigma)
    with tf.GradientTape() as tape:
        outputs = layer(features, training=True)
        loss = tf.reduce_sum(outputs["log_probabilities"][:, -1])
    locations = outputs["locations"].numpy()
    kernels = [
        layer.region_lstm.cell.kernel,
        layer.region_lstm.cell.recurrent_kernel,
        layer.region_lstm.feature.kernel,
    ]
    for kernel, gradient in zip(kernels, tape.gradient(loss, kernels), strict=True):
        gradient = tf.convert_to_tensor(gradient).numpy()
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        step, value, told = 2e-3, kernel.numpy(), []
        for sign in (1, -1):
            changed = value.copy()
            changed[place] += sign * step
            kernel.assign(changed)
            mean = loop_by_numpy(layer, features, locations)["means"][:, -1]
            told.append(-((locations[:, -1] - mean) ** 2).sum() / (2 * sigma**2))
        kernel.assign(value)
        difference = (told[0] - told[1]) / (2 * step)
        assert abs(difference) > 0.01
        np.testing.assert_allclose(gradient[place], difference, rtol=0.02)


@pytest.mark.slow
def test_reinforce_is_the_derivative_of_the_expected_reward_of_the_agent():
    # One image, one step, one region: what it is worth to look at each place can be
    # asked of an agent with fixed locations, and integrated over the policy.
    sigma, count = 0.3, 40_000
    rng = np.random.default_rng(2)
    image = rng.normal(size=(1, 7, 7, CHANNELS)).astype("float32")
    small = {"num_steps": 1, "sides": (0.2,), "ratios": (1.0,), "layout_channels": 0}
    layer = make_agent(episodes=count, sigma=sigma, **small)
    layer.location_kernel.assign(tf.zeros_like(layer.location_kernel))
    layer.location_bias.assign([[0.4, -0.2]])
    mean = np.tanh([0.4, -0.2])

    grid = np.linspace(-1, 1, 81)
    places = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    maps = np.repeat(image, len(places), 0)
    scores = loop_by_numpy(layer, maps, places[:, None])["region_scores"][:, 0]
    # So that no label wins everywhere.
    classifier = layer.region_lstm.classifier
    classifier.bias.assign_sub(scores.mean(0))
    best = (scores - scores.mean(0)).argmax(-1)
    label = np.bincount(best).argmax()
    worth = (best == label).reshape(81, 81)
    assert 0.2 < worth.mean() < 0.8
    # Places beyond the border are looked at on it: their share falls to the last cells.
    edges = np.concatenate([[-np.inf], (grid[1:] + grid[:-1]) / 2, [np.inf]])

    def expected_reward(mean):
        shares = [np.diff(stats.norm(m, sigma).cdf(edges)) for m in mean]
        return shares[0] @ worth @ shares[1]

    step = 1e-4
    derivative = [
        (expected_reward(mean + move) - expected_reward(mean - move)) / (2 * step)
        for move in step * np.eye(2)
    ]
    with tf.GradientTape() as tape:
        outputs = layer(image, training=True)
        labels = np.tile(np.eye(LABELS)[label], (count, 1))
        rewards = policy_gradient.reward(labels, outputs["region_scores"][:, 0])
        loss = policy_gradient.policy_loss(
            rewards,
            outputs["baselines"],
            outputs["log_probabilities"],
            tf.fill([count], True),
        )
    gradient = tf.convert_to_tensor(tape.gradient(loss, layer.location_bias))
    gradient = -gradient.numpy()[0]
    assert np.abs(derivative).max() > 0.15
    # A standard error of at most 0.5 / sigma / sqrt(count) = 0.008.
    np.testing.assert_allclose(gradient / (1 - mean**2), derivative, atol=0.03)


def test_images_of_a_batch_do_not_see_each_other(features):
    layer = make_agent()
    alone = [layer(features[i : i + 1]) for i in range(2)]
    joined = {name: np.concatenate([a[name] for a in alone]) for name in alone[0]}
    assert_same(layer(features), joined)


def test_unknown_batch_and_map_size_give_the_same(features):
    layer = make_agent()

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, CHANNELS])])
    def attend(features):
        return layer(features)

    for part in (features, features[:1, :3]):
        assert_same(attend(part), layer(part))


def test_layer_works_on_symbolic_inputs(features):
    layer = make_agent()
    inputs = keras.Input((None, None, CHANNELS))
    outputs = layer(inputs)
    assert outputs["region_scores"].shape == (None, STEPS * 6, LABELS)
    assert outputs["regions"].shape == (None, STEPS * 6, 2, 3)
    assert_same(keras.Model(inputs, outputs)(features), layer(features))


def gradients(layer, features):
    """Of all that is learnt but the log-probabilities, which are of what was drawn."""
    with tf.GradientTape() as tape:
        outputs = layer(features, training=True)
        finite = tf.reduce_mean(outputs["log_probabilities"] * 0.0)
        loss = tf.reduce_sum(outputs["region_scores"] ** 2) + finite
        loss += tf.reduce_sum(outputs["baselines"] ** 2)
    found = tape.gradient(loss, layer.trainable_variables)
    return [tf.convert_to_tensor(gradient) for gradient in found]


def test_xla_computes_the_same_outputs_and_gradients(features):
    # XLA draws other random numbers: here they hardly move the locations.
    layer = make_agent(episodes=2, starts=STARTS, sigma=1e-6)
    compiled = tf.function(layer, jit_compile=True)
    assert_same(compiled(features), layer(features), tolerance=1e-4)
    differentiate = tf.function(lambda f: gradients(layer, f), jit_compile=True)
    expected = gradients(layer, features)
    for actual, wanted in zip(differentiate(features), expected, strict=True):
        atol = 2e-3 * np.abs(wanted).max()
        np.testing.assert_allclose(actual, wanted, rtol=2e-3, atol=atol)


def test_xla_computes_a_policy_gradient(features):
    layer = make_agent(episodes=2, units=32)

    @tf.function(jit_compile=True)
    def differentiate(features):
        with tf.GradientTape() as tape:
            outputs = layer(features, training=True)
            loss = policy_gradient.policy_loss(
                tf.constant([1.0, 0.0, 0.5, 1.0]),
                outputs["baselines"],
                outputs["log_probabilities"],
                tf.fill([4], True),
            )
        return [
            tf.convert_to_tensor(gradient)
            for gradient in tape.gradient(
                loss, [*layer.theta_variables, layer.region_lstm.cell.kernel]
            )
        ]

    for gradient in differentiate(features):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 1e-6


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_finite_float32_near_full_precision(features, policy):
    exact, layer = make_agent(), make_agent(dtype=policy)
    for training in (False, True):
        outputs = layer(features, training=training)
        for name, value in outputs.items():
            assert value.dtype == tf.float32, name
            assert np.isfinite(value).all(), name
    assert_same(layer(features), exact(features), tolerance=0.1)
    assert layer.region_lstm.feature.compute_dtype == policy.removeprefix("mixed_")


def test_layer_is_made_again_from_json(features):
    arguments = {"dropout": 0.25, "sigma": 0.3, "episodes": 4, "seed": 3}
    layer = make_agent(starts=STARTS, ratios=(1.0, 3.0), **arguments)
    assert layer.get_config().items() >= arguments.items()
    assert set(inspect.signature(ReinforcedAttention).parameters) - {"kwargs"} <= set(
        layer.get_config()
    )
    written = json.dumps(keras.saving.serialize_keras_object(layer))
    again = keras.saving.deserialize_keras_object(json.loads(written))
    assert again.get_config() == layer.get_config()
    again(features)
    again.set_weights(layer.get_weights())
    assert_same(again(features), layer(features), tolerance=0)


@pytest.mark.parametrize("context", [0.0, 0.4])
def test_start_as_a_classifier_scores_all_regions_of_all_steps_like_it(
    features, context
):
    rng = np.random.default_rng(3)
    kernel = rng.normal(0, 0.5, (CHANNELS, LABELS)).astype("float32")
    bias = rng.normal(0, 0.5, LABELS).astype("float32")
    layer = make_agent(randomly=False, units=32, starts=STARTS)
    layer.region_lstm.start_as((kernel, bias), context=context)

    def classify(theta):
        region = sample_region(features, tf.tile([theta], [2, 1]), (4, 4))
        return tf.reduce_mean(region, [1, 2]) @ kernel

    theta = tf.reshape(regions_at(tf.constant(STARTS), layer.scales), [-1, 4])
    regions = np.stack([classify(row) for row in theta], 1)
    expected = (1 - context) * regions + context * classify(WHOLE)[:, None]
    error = layer(features)["region_scores"] - bias - expected
    # Up to the tanh of Eq. 4, which is linear within 3 %.
    assert np.linalg.norm(error) < 0.03 * np.linalg.norm(expected)


def test_dropout_acts_in_training_only(features):
    layer = make_agent(dropout=0.5, locations="fixed", starts=STARTS)
    assert_same(layer(features), layer(features), tolerance=0)
    first, second = (layer(features, training=True)["region_scores"] for _ in range(2))
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_steps": 0}, "num_steps=0"),
        ({"episodes": 0}, "episodes=0"),
        ({"sigma": 0.0}, r"sigma=0\.0"),
        ({"locations": "here"}, "Received: locations='here'"),
        ({"starts": [[0.0, 0.0]]}, r"Expected shape \(3, 2\)"),
        ({"starts": [[0.0, 0.0]] * 2 + [[1.0, 0.0]]}, "between -1 and 1"),
        ({"locations": "fixed"}, "Received: None"),
    ],
)
def test_arguments_that_make_no_agent_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_agent(**arguments)
