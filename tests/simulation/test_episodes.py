"""Closed loop: against a twin that steps network and environment by hand, on ranks, with faults, resumed.

One file, because all tests use the same twin and network.
"""

from pathlib import Path

import h5py
import networks
import numpy as np
import pytest
import ranks
import reference
import reward_reference
from commands import digests, on_ranks, output_of, run_of
from corridor import Corridor, CorridorTask
from params import first, first_rows

from pareprop import Reply, rng
from pareprop.engines.interval import IntervalSettings
from pareprop.errors import InputError
from pareprop.network.reward import Reward
from pareprop.parallel.spike_log import SpikeLog
from pareprop.simulation.loop import Simulation

LOSS = {"gamma": 0.9, "lambda_": 0.8, "c_V": 0.5, "c_H": 0.02}


def corridor_case(n_steps: int) -> dict:
    window = {"interval": n_steps, "learning_window": n_steps, "inputs": np.zeros((n_steps, 6), bool)}
    optimizer = {"type": "gradient_descent", "eta": 0.01, "batch_size": 4}
    case = networks.random_case(11, dt=1.0, average_gradient=False, reset=True, optimizer=optimizer, **window)
    drawn, n_rec = np.random.default_rng(5), len(case["w_rec"])
    case["w_out"], case["w_fb"] = drawn.normal(0.0, 1.0, (3, n_rec)), drawn.normal(0.0, 1.0, (n_rec, 3))
    case["targets"] = np.zeros((n_steps, 3))
    case["readout"] |= {"loss": "mean_squared_error", "I_e": 0.0, "E_L": 0.0, "V_m": 0.0}
    del case["step_currents"]
    for group in case["groups"]:
        group["params"] |= {"I_e": 0.0, "c_reg": 5.0}
        del group["params"]["V_m"]
    return case


def simulation(case: dict, task) -> Simulation:
    model = networks.model(case)
    model.loss = Reward(**LOSS)
    return Simulation(model, task, settings=IntervalSettings(task.n_steps))


def by_hand(case: dict, task, index: int) -> tuple[dict, np.ndarray, dict]:
    """Step network and environment: what happened, input raster, gradients."""
    net, episode = reference.Network(case), Corridor(task, index, "train")
    draws = rng.draw_uniform(rng.make_key(task.seed, "train/actions"), [index], task.most)[0]
    w_in, w_rec, w_out = map(np.nan_to_num, (net.w_in, net.w_rec, net.w_out))
    shown = np.zeros((task.n_steps + 50, task.n_inputs), bool)
    place, actions, rewards, when, end, told = 2, [], [], [], task.n_steps, {}
    done = task.first + task.sensor_delay
    shown[:done] = episode.raster[:done] < 0.1 + 0.12 * place
    t = 0
    while t < end:
        net.inputs = shown
        net.step_neurons(t, reference.arriving(net, {"in": w_in, "rec": w_rec}, 0, t))
        signal = net.readouts.step(w_out @ net.z[t], first=t == 0)
        if "after" in told and t == told["after"]:
            told["bootstrap"] = signal[-1]
        if t >= task.first and (t - task.first) % task.period == 0 and len(actions) < task.most and not told:
            action = int(draws[len(actions)] >= reward_reference.softmax(signal[:-1])[0])
            place += 1 if action else -1
            actions.append(action)
            rewards.append(1.0 if place == 4 else -0.1)
            when.append(t)
            first = t + task.sensor_delay  # the old observation goes on until then
            assert first == done
            shown[first : first + task.period] = episode.raster[first : first + task.period] < 0.1 + 0.12 * place
            done += task.period
            if place in (0, 4):
                end, told = t + 1, {"terminated": True, "bootstrap": 0.0}
            elif len(actions) == task.most:
                room = task.bootstrap and t + task.period < task.n_steps
                told = {"terminated": False, "bootstrap": 0.0, "after": t + task.period if room else -1}
                end = t + task.period + 1 if room else t + 1
        t += 1
    happened = {
        "when": np.array(when),
        "actions": np.array(actions),
        "rewards": np.array(rewards),
        "n_steps": end,
        "acting": np.ones(len(when), bool),
        "terminated": told["terminated"],
        "bootstrap": told["bootstrap"],
    }
    gradients, _ = reward_reference.gradients(case | {"inputs": shown[: task.n_steps]}, 0, happened, LOSS)
    return happened, shown, gradients


@pytest.mark.parametrize(("sensor_delay", "bootstrap", "n_steps"), [(1, True, 35), (3, True, 35), (1, False, 29)])
def test_episodes_are_those_stepped_by_hand(sensor_delay: int, bootstrap: bool, n_steps: int) -> None:
    """Some end early, some are cut off; the gradient of each is that of the online rule."""
    task, ends = CorridorTask(sensor_delay, bootstrap, n_steps), []
    case = corridor_case(n_steps)
    run = simulation(case, task)
    run.engine.gradient.keep_gradients()
    before = None
    for index in range(12):
        run.run_sample(index, "train", learn=True)
        happened, shown, gradients = by_hand(case, task, index)
        sample = run.episodes.play_episode(index, "train")  # the same again
        for name in ("when", "actions", "rewards"):
            np.testing.assert_array_equal(getattr(sample.rollout, name), happened[name])
        assert (sample.rollout.n_steps, sample.rollout.terminated) == (happened["n_steps"], happened["terminated"])
        assert sample.rollout.bootstrap == pytest.approx(happened["bootstrap"], abs=1e-12)
        steps, ids = sample.inputs.list_spikes(happened["n_steps"])
        np.testing.assert_array_equal(np.stack([steps, ids]), np.nonzero(shown[: happened["n_steps"]]))
        arrays = run.engine.gradient.arrays
        total = networks.matrices(run, lambda table, arrays=arrays: arrays[id(table)])
        for key, expected in gradients.items():
            found = total[key] - (before[key] if before else 0.0)
            np.testing.assert_allclose(found[~np.isnan(found)], expected[~np.isnan(found)], rtol=0, atol=1e-11)
        before = {key: value.copy() for key, value in total.items()}
        ends.append((happened["terminated"], len(happened["when"])))
    assert len(set(ends)) > 2 and {end for end, _ in ends} == {True, False}


def test_one_engine_after_a_longer_episode_gives_the_bits_of_a_fresh_one() -> None:
    """Nothing is left over of an episode before, whatever its length."""
    task, case = CorridorTask(), corridor_case(35)
    run = simulation(case, task)
    lengths = [_length(run, index) for index in range(12)]
    short, long = int(np.argmin(lengths)), int(np.argmax(lengths))
    assert lengths[short] < lengths[long]

    def weights_after(*order: int) -> list[np.ndarray]:
        fresh = simulation(case, task)
        for index in order[:-1]:
            fresh.run_sample(index, "train", learn=False)
        fresh.run_sample(order[-1], "train", learn=True)
        fresh.engine.step_optimizers()
        return [fresh.network.incoming.weight, fresh.network.outgoing.weight]

    for alone, later in zip(weights_after(short), weights_after(long, short), strict=True):
        np.testing.assert_array_equal(alone, later)


def _length(run: Simulation, index: int) -> int:
    run.run_sample(index, "train", learn=False)
    return run.engine.n


# ---- ranks, replicas, resumed ----------------------------------------------------------------------------------------


REACH = ("n_rec=13", "iterations=3", "batch_size=4", "test_samples=2", "decisions=4", "cells=4")
SMALL = {
    "reach": REACH,
    "reach-on-root": (*REACH, "replicated=false"),
    "reach-late": (*REACH, "sensor_delay=2"),
    "cart-pole": ("n_rec=11", "iterations=1", "batch_size=2", "test_samples=2", "cells=4", "act=greedy"),
    "delayed-choice": ("n_rec=7", "n_ad=6", "iterations=2", "batch_size=4", "test_samples=2", "pause=20", "recall=9"),
    "reach-on-line": (*REACH[:1], "variant=spike", "iterations=8", "test_samples=2", "decisions=4", "cells=4"),
    "delayed-choice-on-line": ("variant=spike", "n_rec=7", "n_ad=6", "iterations=5", "test_samples=2", "pause=20"),
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the small runs on one rank."""
    folder = tmp_path_factory.mktemp("alone")
    commands = [run_of(name.partition("-on")[0].partition("-late")[0], folder / name, *SMALL[name]) for name in SMALL]
    codes, output, errors = on_ranks(1, commands)
    assert (set(codes), errors) == ({0}, [])
    return dict(zip(SMALL, digests(output), strict=True))


def test_who_steps_the_environment_does_not_matter(alone: dict[str, str]) -> None:
    assert alone["reach"] == alone["reach-on-root"] != alone["reach-late"]


@pytest.mark.mpi
@pytest.mark.parametrize(("n", "replicas"), first_rows(1, [(3, 1), (4, 2), (2, 2), (2, 1), (4, 4)], rest=2))
def test_one_digest_on_any_number_of_ranks(alone: dict[str, str], tmp_path: Path, n: int, replicas: int) -> None:
    names = list(SMALL) if replicas == 1 else ["reach", "reach-on-root", "delayed-choice"]
    commands = [
        [*run_of(name.partition("-on")[0].partition("-late")[0], tmp_path / name, *SMALL[name]), "--replicas", replicas]
        for name in names
    ]
    codes, output, errors = on_ranks(n, commands)
    assert (set(codes), errors) == ({0}, [])
    assert digests(output) == [alone[name] for name in names]


@pytest.mark.mpi
@pytest.mark.parametrize("n", first(1, [3, 1]))
def test_online_learning_resumes_to_the_same_bits(alone: dict[str, str], tmp_path: Path, n: int) -> None:
    names = ("reach-on-line", "delayed-choice-on-line")
    parts = [[*run_of(name.partition("-on")[0], tmp_path / name, *SMALL[name]), "--until", 3] for name in names]
    assert on_ranks(2, parts)[0] == [0, 0]
    codes, output, errors = on_ranks(n, [["resume", tmp_path / name] for name in names])
    assert (codes, errors) == ([0, 0], [])
    assert digests(output) == [alone[name] for name in names]


@pytest.mark.mpi
def test_resumed_on_other_ranks_it_is_the_undisturbed_run(alone: dict[str, str], tmp_path: Path) -> None:
    first = [*run_of("reach", tmp_path / "run", *SMALL["reach"]), "--until", 1]
    assert on_ranks(1, [first])[0] == [0]
    codes, output, errors = on_ranks(2, [["resume", tmp_path / "run"]])
    assert (codes, errors) == ([0], [])
    assert digests(output) == [alone["reach"]]
    codes, _, _ = on_ranks(1, [run_of("reach", tmp_path / "whole", *SMALL["reach"])])
    with h5py.File(tmp_path / "run" / "results.h5") as one, h5py.File(tmp_path / "whole" / "results.h5") as other:
        for name in ("return", "episode_length", "mean_return", "mean_length", "entropy", "value_error", "terminated"):
            np.testing.assert_array_equal(one[name], other[name])
        assert one["return"].shape == (12,) and one["mean_return"].shape == (3,)
        np.testing.assert_allclose(np.mean(one["return"][4:8]), one["mean_return"][1])
        for name in ("decision_steps", "action", "reward", "value", "td_error", "advantage"):
            assert one[f"dynamics/last/{name}"].shape == one["dynamics/last/policy"].shape[:1]
        assert len(one["dynamics/last/observation"]) == len(one["dynamics/last/action"]) + 1


def test_a_training_stops_above_a_return(tmp_path: Path, capsys: pytest.CaptureFixture, no_figures: None) -> None:
    settings = [*SMALL["reach"], "validate_every=1", "validate_samples=4", "stop_samples=4", "stop_above=-5.0"]
    output = output_of(capsys, *run_of("reach", tmp_path / "run", *settings))
    assert "stopped after 1 iterations: validation" in output and "above -5" in output
    settings[-1] = "stop_above=5.0"
    output = output_of(capsys, *run_of("reach", tmp_path / "other", *settings))
    assert "stopped" not in output and "test return: " in output


# ---- faults ----------------------------------------------------------------------------------------------------------

FAULTS = {
    "raises": "the environment raised RuntimeError: the robot fell over",
    "outside": "is not in its space Dict(",
    "observation": "is not in its space Dict(",
    "reward": "the reward is inf, must be finite",
    "nothing": "reward = None must be a number",
    "shape": "is not in its space Dict(",
    "four values": "the environment raised ValueError: not enough values to unpack (expected 5, got 4)",
    "exit": "the environment raised SystemExit: 0",
}


@pytest.mark.mpi
@pytest.mark.parametrize("n", first(0, [2, 1], rest=1))
@pytest.mark.usefixtures("gymnasium")
def test_an_environment_that_fails_ends_all_ranks(tmp_path: Path, n: int) -> None:
    settings = ("env=faulty_environments:Faulty-v0", "n_rec=5", "batch_size=2", "iterations=2", "test_samples=0")
    commands, told = [], []
    for k, (fault, message) in enumerate(FAULTS.items()):
        for replicated in ("true", "false") if n == 1 else (("true", "false")[k % 2],):
            arguments = f"env_arguments={{ fault = '{fault}' }}"
            commands.append(
                run_of("gym", tmp_path / f"{fault}-{replicated}", *settings, arguments, f"replicated={replicated}")
            )
            told.append(message)
    both = (*settings, "env_arguments={ fault = 'both ends' }")
    fine = [run_of("gym", tmp_path / "fine", *settings), run_of("gym", tmp_path / "both", *both)]
    codes, _, errors = on_ranks(n, [*commands, *fine], env={"PYTHONPATH": str(Path(__file__).parents[1])})
    assert codes == [2] * len(commands) + [0, 0]
    with h5py.File(tmp_path / "both" / "results.h5") as file:
        np.testing.assert_array_equal(file["terminated"], 1)  # an end counts for more than a cut
        np.testing.assert_array_equal(file["episode_length"], [4, 3, 4, 4])
    assert len(errors) == len(commands), errors
    for line, message in zip(errors, told, strict=True):
        assert line.startswith("pareprop: error: episode 1 of 'train', decision 2: ") and message in line


ALONE = {  # what goes wrong on one of some ranks, and what is told
    "raises on rank 1": (2, "the environment raised RuntimeError: the robot fell over (rank 1); safe: "),
    "own numbers": (3, "the environments of ranks 0 and 1 reply differently"),
    "ends on rank 1": (3, "the environments of ranks 0 and 1 reply differently"),
}


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.parametrize("fault", ALONE)
@pytest.mark.usefixtures("gymnasium")
def test_environments_that_differ_between_ranks(tmp_path: Path, fault: str) -> None:
    """Without a comparison one rank would go on alone and wait for ever."""
    settings = ("env=faulty_environments:Faulty-v0", "n_rec=5", "batch_size=2", "replicated=true")
    run = run_of("gym", tmp_path / "run", *settings, f"env_arguments={{ fault = '{fault}' }}")
    n, message = ALONE[fault]
    done = ranks.run(n, "-m", "pareprop", *run, env={"PYTHONPATH": str(Path(__file__).parents[1])})
    told = [line for line in done.stderr.splitlines() if "pareprop: error" in line]
    assert done.returncode == 2 and len(told) == 1
    assert f"episode 1 of 'train', decision 2: {message}" in told[0]


class Bad(CorridorTask):
    """Replies with what does not fit."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply

    def episode(self, index: int, phase: str = "train"):
        episode = super().episode(index, phase)
        episode.step = lambda action: self.reply
        return episode


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(SpikeLog(5), 0.0, observation=np.ones(1)), "spikes of 5 steps, must be 6"),
        (
            Reply(SpikeLog.from_spikes(np.array([0]), np.array([6]), 6), 0.0, observation=np.ones(1)),
            "a spike of source 6, the model has 6",
        ),
        (Reply(SpikeLog(6), np.nan), "the reward is nan"),
        (None, "the episode returned a NoneType"),
        (Reply(SpikeLog(6), 0.0, observation=np.array([1.0, np.inf])), "component 1 of the observation is inf"),
        (Reply(SpikeLog(6), 0.0, observation=np.ones(2)), r"observation has shape \(2,\), the first .* \(1,\)"),
        (Reply(SpikeLog(6), 0.0, info={"x": "a"}, observation=np.ones(1)), r"info\['x'\] is a str, must be a number"),
        (Reply(SpikeLog(6), np.zeros(2), observation=np.ones(1)), r"the reward is array\(.*\), must be a number"),
    ],
)
def test_replies_that_do_not_fit(reply: Reply, message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulation(corridor_case(35), Bad(reply)).run_sample(0, "train", learn=False)


@pytest.mark.parametrize("how", ["terminated", "truncated"])
def test_an_episode_without_a_decision(how: str) -> None:
    class Over(CorridorTask):
        def episode(self, index: int, phase: str = "train"):
            episode = super().episode(index, phase)
            episode.reset = lambda: Reply(SpikeLog(5), 0.0, **{how: True})
            return episode

    with pytest.raises(InputError, match="episode 3 of 'test': the episode is over before its first decision"):
        simulation(corridor_case(35), Over()).run_sample(3, "test", learn=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_actions": 3}, "3 actions need 4 readouts, the network has 3"),
        ({"period": 0}, "period = 0"),
        ({"sensor_delay": 0}, "sensor_delay = 0"),
        ({"first": 35}, "first = 35 must lie in"),
        ({"act": "x"}, "act = 'x'"),
    ],
)
def test_tasks_that_do_not_fit(change: dict, message: str) -> None:
    task = CorridorTask()
    for name, value in change.items():
        setattr(task, name, value)
    with pytest.raises(InputError, match=message):
        simulation(corridor_case(35), task)


def test_a_closed_task_without_a_step_of_the_first_decision() -> None:
    class Nothing:
        n_steps = 10

        def episode(self, index: int, phase: str = "train") -> None:
            """None."""

    with pytest.raises(InputError, match="task Nothing: first is missing: the step of the first decision"):
        simulation(corridor_case(35), Nothing())


def test_a_closed_task_needs_the_loss() -> None:
    with pytest.raises(InputError, match="needs a model with loss"):
        Simulation(networks.model(corridor_case(35)), CorridorTask(), settings=IntervalSettings(35))
