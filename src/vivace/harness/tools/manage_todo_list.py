"""manage_todo_list: the plan, given as a whole each time."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vivace.harness.tools.base import Args, Context, Result, Tool

FEW, MANY, AT_ONCE = 3, 10, 3


class TodoItem(Args):
    id: int = Field(description="Number of the item, from 1.")
    title: str = Field(description="What is to be done, in a few words.")
    status: Literal["not-started", "in-progress", "completed"] = Field(description="How far it is.")


class ManageTodoListArgs(Args):
    todoList: list[TodoItem] = Field(description="All items, changed or not.")


def run(args: ManageTodoListArgs, ctx: Context) -> Result:
    before = {item.id: item.status for item in ctx.todos}
    changed = sum(before.get(item.id, item.status) != item.status for item in args.todoList)
    ctx.todos = list(args.todoList)
    notes = []
    if args.todoList and not FEW <= len(args.todoList) <= MANY:
        notes.append(f"{len(args.todoList)} items: {FEW} to {MANY} make a plan that can be followed")
    if changed > AT_ONCE:
        notes.append(f"{changed} items changed at once: update the list as each one is done")
    warning = f" Warning: {'; '.join(notes)}." if notes else ""
    return Result(f"Successfully wrote todo list.{warning}")


TOOL = Tool(
    name="manage_todo_list",
    description="Keep the list of things to do for a task of several steps: give the whole list each time, with one "
    "item in progress. Leave it out where the request is simple.",
    args=ManageTodoListArgs,
    run=run,
    required=("todoList",),
)
