"""SAHI doing what the pipeline does, with the same session: whole batches, NMS, map coordinates, GeoJSON text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from runtime.records import UInt8Array


def sahi_model(running: Any) -> Any:
    """SAHI's door to the same session, whole batches at once."""
    from sahi.models.base import DetectionModel
    from sahi.prediction import ObjectPrediction

    feed = running.get_inputs()[0].name

    class Spots(DetectionModel):
        required_packages: list[str] = []  # noqa: RUF012 - SAHI's own shape

        def check_dependencies(self, packages: list[str] | None = None) -> None:
            """Nothing beside what runs here."""

        def set_device(self, device: str | None = None) -> None:
            self.device = "cpu"

        def load_model(self) -> None:
            self.model = running
            self.category_mapping = {"0": "spot"}

        def perform_inference(self, image: UInt8Array) -> None:
            self.perform_batch_inference([image])

        def perform_batch_inference(self, images: list[UInt8Array]) -> None:
            batch = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
            self._original_predictions = running.run(None, {feed: batch})[0]
            self._batch_images = None

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: Any = None, full_shape_list: Any = None
        ) -> None:
            found = []
            for raw, shift, shape in zip(self._original_predictions, shift_amount_list, full_shape_list, strict=True):
                kept = raw[raw[:, 4] >= 0.4]
                found.append(
                    [
                        ObjectPrediction(
                            bbox=row[:4].tolist(),
                            score=float(row[4]),
                            category_id=0,
                            category_name="spot",
                            shift_amount=shift,
                            full_shape=shape,
                        )
                        for row in kept
                    ]
                )
            self._object_prediction_list_per_image = found

    return Spots(confidence_threshold=0.4)


def sahi_run(path: Path, model: Any, edge_px: int, overlap_frac: float) -> list[list[float]]:
    """SAHI from the file to GeoJSON-like text, as its users do it."""
    import rasterio
    from rasterio.warp import transform
    from sahi.predict import get_sliced_prediction

    with rasterio.open(path) as dataset:
        image = np.ascontiguousarray(dataset.read().transpose(1, 2, 0))
        affine, crs = dataset.transform, dataset.crs
    result = get_sliced_prediction(
        image,
        model,
        slice_height=edge_px,
        slice_width=edge_px,
        overlap_height_ratio=overlap_frac,
        overlap_width_ratio=overlap_frac,
        perform_standard_pred=False,
        postprocess_type="NMS",
        postprocess_match_metric="IOU",
        postprocess_match_threshold=0.5,
        verbose=0,
        batch_size=32,
    )
    boxes = [found.bbox.to_xyxy() for found in result.object_prediction_list]
    sides = np.array(boxes).reshape(-1, 4)
    x, y = sides[:, [0, 0, 2, 2]].ravel(), sides[:, [1, 3, 3, 1]].ravel()
    lon, lat = transform(crs, "OGC:CRS84", affine.a * x + affine.c, affine.e * y + affine.f)
    rings = np.stack([lon, lat], axis=1).reshape(-1, 4, 2).tolist()
    json.dumps(
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                    "properties": {"class": "spot", "score": found.score.value, "px_bbox": box},
                }
                for ring, found, box in zip(rings, result.object_prediction_list, boxes, strict=True)
            ],
        }
    )
    return boxes
