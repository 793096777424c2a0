"""Worker processes that render whole shards and may die at any moment.

Each worker has its own pipe and gets one shard at a time. A worker that dies is replaced and its shard redone; one
that has rendered many frames is retired, since long-lived Blender processes grow. Workers ignore Ctrl-C: the parent
decides when to stop.
"""

import multiprocessing
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from posecore.errors import UserError
from synthgen.recipe import Recipe
from synthgen.shards import ShardRecord, ShardTask, current_versions, render_shard

_FRAMES_PER_WORKER = 4000
_MOST_DEATHS_PER_SHARD = 3
_CONTEXT = multiprocessing.get_context("spawn")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class SceneDone:
    """A scene was rendered: its number of samples, and how often it was rejected before."""

    samples: int
    rejects: int


@dataclass(frozen=True)
class SceneRaised:
    """A draw of a scene raised an error and is drawn anew; one line says what."""

    text: str


@dataclass(frozen=True)
class ShardDone:
    """A shard lies in its place."""

    task: ShardTask
    record: ShardRecord


@dataclass(frozen=True)
class ShardLost:
    """A worker died while it rendered a shard, which will be redone; `samples` of it had been counted."""

    task: ShardTask
    samples: int
    exit_code: int | None


@dataclass(frozen=True)
class _Failed:
    """Something that the user can mend."""

    message: str


@dataclass(frozen=True)
class _Crashed:
    """A fault of the program; redoing the shard would only repeat it."""

    traceback: str


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    task: ShardTask | None = None
    samples_of_task: int = 0
    samples: int = 0


def render_shards(
    tasks: list[ShardTask], recipe: Recipe, folder: Path, num_workers: int, threads: int | None = None
) -> Iterator[SceneDone | SceneRaised | ShardDone | ShardLost]:
    """Render shards with a pool of processes; closing the iterator stops them at once.

    Args:
        threads: of each worker's engine; by default they share the cores.

    Raises:
        UserError: a shard failed for a reason that redoing cannot mend, or killed its worker three times.
    """
    waiting = deque(tasks)
    deaths: dict[int, int] = {}
    threads = threads or max(1, (os.cpu_count() or 1) // num_workers)
    workers: list[_Worker] = []
    try:
        while waiting or any(worker.task for worker in workers):
            busy = sum(worker.task is not None for worker in workers)
            idle = [worker for worker in workers if worker.task is None]
            while waiting and busy < num_workers:
                worker = idle.pop() if idle else _start(recipe, folder, threads)
                if worker not in workers:
                    workers.append(worker)
                worker.task, worker.samples_of_task = waiting.popleft(), 0
                worker.connection.send(worker.task)
                busy += 1
            by_connection = {worker.connection: worker for worker in workers}
            for connection in wait(list(by_connection)):
                worker = by_connection[connection]
                message = _receive(worker)
                match message:
                    case SceneDone(samples=samples):
                        worker.samples += samples
                        worker.samples_of_task += samples
                        yield message
                    case SceneRaised():
                        yield message
                    case ShardDone():
                        worker.task = None
                        if worker.samples >= _FRAMES_PER_WORKER:
                            workers.remove(worker)
                            _stop(worker)
                        yield message
                    case _Failed(text):
                        raise UserError(text)
                    case _Crashed(text):
                        raise RuntimeError(f"a worker failed:\n{text}")
                    case None:
                        workers.remove(worker)
                        worker.process.join()
                        task = worker.task
                        if task is None:
                            continue
                        deaths[task.number] = deaths.get(task.number, 0) + 1
                        code = worker.process.exitcode
                        if deaths[task.number] >= _MOST_DEATHS_PER_SHARD:
                            raise UserError(
                                f"shard {task.number} (scenes from {task.first_scene}) ended its worker "
                                f"{_MOST_DEATHS_PER_SHARD} times, last with exit code {code}; is there enough memory?"
                            )
                        waiting.appendleft(task)
                        yield ShardLost(task, worker.samples_of_task, code)
    finally:
        for worker in workers:
            _stop(worker)


def _start(recipe: Recipe, folder: Path, threads: int) -> _Worker:
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_work, args=(theirs, recipe.to_dict(), folder, threads), daemon=True)
    with _surroundings():
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextmanager
def _surroundings() -> Iterator[None]:
    """What a process that is started meanwhile inherits.

    One thread for numpy: with another number of them matrix products differ in their last bits on some processors, and
    bytes must not depend on the number of workers. Its libraries read the limit as they are loaded, which is before the
    first line of ours runs there. And a search path without Blender's own folders, which a process that has imported
    bpy has on it: one of them holds another, hollow `bpy` that workers would import instead.
    """
    variables, path = dict(os.environ), list(sys.path)
    os.environ.update(_ONE_THREAD)
    sys.path[:] = [folder for folder in path if not (Path(folder) / "bpy" / "__init__.py").is_file()]
    try:
        yield
    finally:
        sys.path[:] = path
        for name in _ONE_THREAD:
            os.environ.pop(name)
            if name in variables:
                os.environ[name] = variables[name]


def _stop(worker: _Worker) -> None:
    """End a worker: by the closed pipe if it is idle, by a signal if it is rendering."""
    worker.connection.close()
    if worker.task is not None:
        worker.process.terminate()
    worker.process.join(timeout=5)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


def _receive(worker: _Worker) -> object | None:
    """The next message, or None if the worker is gone."""
    try:
        return worker.connection.recv()
    except (EOFError, ConnectionError):
        return None


def _work(connection: Connection, recipe_content: dict[str, object], folder: Path, threads: int) -> None:
    """A worker's life: build the engine once, then render shards until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _raise_exit)
    from synthgen.catalog import asset_finder, load_library
    from synthgen.engines.opening import open_renderer

    try:
        recipe = Recipe.model_validate(recipe_content)
        library = load_library(recipe)
        renderer = open_renderer(recipe.engine, asset_finder(recipe), threads)
        versions = current_versions(renderer.name, renderer.version)
        try:
            while True:
                task: ShardTask = connection.recv()
                record = render_shard(
                    task,
                    recipe,
                    library,
                    renderer,
                    folder,
                    versions,
                    lambda samples, rejects: connection.send(SceneDone(samples, rejects)),
                    lambda text: connection.send(SceneRaised(text)),
                )
                connection.send(ShardDone(task, record))
        finally:
            renderer.close()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone or wants no more
    except SystemExit:
        os._exit(143)  # ours is put away; Blender grumbles when it is torn down in mid-render
    except UserError as error:
        connection.send(_Failed(str(error)))
    except OSError as error:
        connection.send(_Failed(f"{error.filename or folder}: {error.strerror or error}"))
    except Exception:
        connection.send(_Crashed(traceback.format_exc()))


def _raise_exit(*_: object) -> None:
    raise SystemExit(143)  # unwinds, so that the shard's temporary file goes
