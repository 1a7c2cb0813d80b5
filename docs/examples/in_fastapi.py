"""Playhead inside a web application: asked for by a request, computed in a process of its own, looked up by another request.

uvicorn --app-dir docs/examples in_fastapi:app
"""

from pathlib import Path

from fastapi import FastAPI, HTTPException

from playhead import Engine, LocalAgent, flow, task
from playhead.errors import NotFound


@task(retries=2)
def measure(page: int) -> int:
    return len(str(page)) * 100


@flow
def report(pages: int) -> int:
    return sum(measure.map(range(pages)).result())


HOME = Path("web-app").absolute()  # log, key and storage of this application
HOME.mkdir(mode=0o700, exist_ok=True)
engine = Engine(f"sqlite:///{HOME}/log.db", home=HOME, agent=LocalAgent(capacity=2))
app = FastAPI(lifespan=engine.lifespan)
app.mount("/playhead", engine.asgi())  # the engine's own API, for `playhead --server .../playhead`


@app.post("/reports")
async def ask(pages: int) -> dict[str, str]:
    """Ask for a report, and do not wait for it."""
    run = await report.start(client=engine.client, parameters={"pages": pages})
    return {"id": run.id}


@app.get("/reports/{run_id}")
async def look(run_id: str) -> dict[str, object]:
    """How far it is, and what came out once it is done."""
    try:
        view = await engine.client.run(run_id, tasks=False)
    except NotFound as error:
        raise HTTPException(404) from error
    if view.state != "succeeded":
        return {"state": view.state.value}
    return {"state": view.state.value, "length": await engine.client.flow_run(run_id).result()}
