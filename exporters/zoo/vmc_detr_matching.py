"""Which query answers for which box: the assignment of least cost (Carion et al., DETR, ECCV 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray
from torch import Tensor  # noqa: TID253

CLASS_COST, BOX_COST, GIOU_COST = 2.0, 5.0, 2.0
ALPHA, GAMMA = 0.25, 2.0


def assign_least(cost: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows, columns) of the assignment of least total cost of a (r, c) matrix, min(r, c) pairs, by row.

    Shortest augmenting paths (Jonker and Volgenant, 1987; Crouse, 2016), after rows whose cheapest column is free.

    >>> [found.tolist() for found in assign_least(np.array([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0]]))]
    [[0, 1], [1, 0]]
    """
    if cost.shape[0] > cost.shape[1]:
        columns, rows = assign_least(cost.T)
        order = np.argsort(rows)
        return rows[order], columns[order]
    cost = np.ascontiguousarray(cost, dtype=np.float64)
    cheapest = cost.argmin(1) if cost.size else np.zeros(len(cost), np.int64)
    u, v = cost.min(1, initial=np.inf), np.zeros(cost.shape[1])
    of_row, of_column = np.full(len(cost), -1), np.full(cost.shape[1], -1)
    for row, column in enumerate(cheapest.tolist()):
        if of_column[column] < 0:
            of_row[row], of_column[column] = column, row
    for row in np.flatnonzero(of_row < 0).tolist():
        _augment(cost, row, u, v, of_row, of_column)
    return np.arange(len(cost)), of_row


def _augment(
    cost: NDArray[Any], start: int, u: NDArray[Any], v: NDArray[Any], of_row: NDArray[Any], of_column: NDArray[Any]
) -> None:
    """Give ``start`` a column along the cheapest path of exchanges; prices ``u`` and ``v`` stay consistent."""
    shortest, path = np.full(cost.shape[1], np.inf), np.full(cost.shape[1], -1)
    closed, visited = np.zeros(cost.shape[1], dtype=bool), []
    row, reached = start, 0.0
    while True:
        visited.append(row)
        length = reached + cost[row] - u[row] - v
        better = (length < shortest) & ~closed
        shortest[better], path[better] = length[better], row
        column = int(np.where(closed, np.inf, shortest).argmin())
        reached = shortest[column]
        if of_column[column] < 0:
            break
        closed[column] = True
        row = int(of_column[column])
    u[start] += reached
    for other in visited[1:]:
        u[other] += reached - shortest[of_row[other]]
    v[closed] -= reached - shortest[closed]
    while True:
        row = int(path[column])
        of_column[column] = row
        of_row[row], column = column, int(of_row[row])
        if row == start:
            return


def corners(boxes: Tensor) -> Tensor:
    """(..., 4) cx, cy, w, h in, left, top, right, bottom out."""
    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], -1)


def giou(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Generalised IoU (Rezatofighi et al., CVPR 2019) and plain IoU of (..., 4) cx, cy, w, h that broadcast."""
    a, b = corners(ours), corners(theirs)
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = ours[..., 2:].prod(-1) + theirs[..., 2:].prod(-1) - shared
    around = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    iou = shared / union.clamp(min=1e-9)
    return iou - (around - union) / around.clamp(min=1e-9), iou


def class_cost(probability: Tensor) -> Tensor:
    """Focal cost of answering a class with this probability (Lin et al., ICCV 2017), before its weight."""
    right = ALPHA * (1.0 - probability) ** GAMMA * -torch.log(probability + 1e-8)
    wrong = (1.0 - ALPHA) * probability**GAMMA * -torch.log(1.0 - probability + 1e-8)
    return right - wrong


def matching_cost(boxes: Tensor, logits: Tensor, wanted: Tensor, kinds: Tensor) -> Tensor:
    """(q, m) cost of giving each of m wanted boxes to each of q queries: class, distance, overlap."""
    classes = class_cost(torch.sigmoid(logits))[:, kinds]
    distance = (boxes[:, None] - wanted[None]).abs().sum(-1)
    return CLASS_COST * classes + BOX_COST * distance - GIOU_COST * giou(boxes[:, None], wanted[None])[0]


def match(boxes: Tensor, logits: Tensor, wanted: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """Of one picture: (queries, wanted) that belong together, each min(q, m). Nothing has a gradient."""
    with torch.no_grad():
        cost = matching_cost(boxes.detach().float(), logits.detach().float(), wanted, kinds).cpu().numpy()
    query, target = assign_least(np.nan_to_num(cost, nan=1e6, posinf=1e6, neginf=-1e6))
    return torch.from_numpy(query).to(boxes.device), torch.from_numpy(target).to(boxes.device)
