"""sensor_msgs/PointCloud2 <-> NumPy, with the interface of sensor_msgs_py.point_cloud2."""

from __future__ import annotations

import sys
from collections import namedtuple
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured
from numpy.typing import NDArray

from .interfaces import message

PointCloud2: Any = message("sensor_msgs/msg/PointCloud2")
PointField: Any = message("sensor_msgs/msg/PointField")

_DTYPES: dict[int, np.dtype[Any]] = {
    PointField.INT8: np.dtype(np.int8),
    PointField.UINT8: np.dtype(np.uint8),
    PointField.INT16: np.dtype(np.int16),
    PointField.UINT16: np.dtype(np.uint16),
    PointField.INT32: np.dtype(np.int32),
    PointField.UINT32: np.dtype(np.uint32),
    PointField.FLOAT32: np.dtype(np.float32),
    PointField.FLOAT64: np.dtype(np.float64),
}
#: What a field without a name is called.
DUMMY_FIELD_PREFIX = "unnamed_field"


def read_points(
    cloud: Any,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[Any] | None = None,
    reshape_organized_cloud: bool = False,
) -> NDArray[Any]:
    """Return points as a structured array (N,), or (H, W) if `reshape_organized_cloud`.

    `field_names` picks fields, `skip_nans` leaves out points with a NaN in them, `uvs` picks points: indices, or
    (u, v) pairs in an organised cloud. Without picking it is a view of the message. Raises `ValueError`.
    """
    dtype = dtype_from_fields(cloud.fields, cloud.point_step)
    count = cloud.width * cloud.height
    data = np.asarray(cloud.data, np.uint8)
    packed = cloud.row_step == cloud.width * cloud.point_step or cloud.height <= 1
    needed = count * cloud.point_step if packed else cloud.row_step * cloud.height
    if data.size < needed:
        raise ValueError(f"a cloud of {cloud.width}x{cloud.height} points needs {needed} bytes, it has {data.size}")
    if not packed:
        data = data[:needed].reshape(cloud.height, cloud.row_step)[:, : cloud.width * cloud.point_step].reshape(-1)
    points: NDArray[Any] = np.frombuffer(data[: count * cloud.point_step].data, dtype, count)
    if bool(cloud.is_bigendian) != (sys.byteorder == "big"):
        points = points.byteswap()
    if field_names is not None:
        unknown = [name for name in field_names if name not in (dtype.names or ())]
        if unknown:
            raise ValueError(f"the cloud has no field {', '.join(unknown)}; it has {', '.join(dtype.names or ())}")
        points = points[list(field_names)]
    if skip_nans and not cloud.is_dense:
        keep = np.ones(len(points), bool)
        for name in points.dtype.names or ():
            bad = np.isnan(points[name])
            keep &= ~(bad.any(axis=1) if bad.ndim > 1 else bad)
        points = points[keep]
    if uvs is not None:
        where = np.asarray(list(uvs), np.int64)
        points = points[where[:, 1] * cloud.width + where[:, 0]] if where.ndim > 1 else points[where]
    if reshape_organized_cloud and cloud.height > 1:
        if len(points) != count:
            raise ValueError("an organised cloud needs all of its points; leave out skip_nans and uvs")
        points = points.reshape(cloud.height, cloud.width)
    return points


def read_points_numpy(
    cloud: Any,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[Any] | None = None,
    reshape_organized_cloud: bool = False,
) -> NDArray[Any]:
    """Return points as a plain array (N, F), or (H, W, F); all fields read must have one type (`ValueError`)."""
    wanted = [f for f in cloud.fields if field_names is None or f.name in field_names]
    if len({f.datatype for f in wanted}) > 1:
        kinds = ", ".join(f"{f.name}: {_DTYPES[f.datatype]}" for f in wanted)
        raise ValueError(f"all fields must have one type to make a plain array, got {kinds}; pick field_names")
    points = read_points(cloud, field_names, skip_nans, uvs, reshape_organized_cloud)
    return structured_to_unstructured(points)


def read_points_list(
    cloud: Any,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[Any] | None = None,
) -> list[Any]:
    """Return points as a list of named tuples; slow, prefer `read_points`."""
    points = read_points(cloud, field_names, skip_nans, uvs)
    point = namedtuple("Point", points.dtype.names or ())  # type: ignore[misc]
    return [point._make(row) for row in points.tolist()]


def dtype_from_fields(fields: Iterable[Any], point_step: int | None = None) -> np.dtype[Any]:
    """Return the structured dtype of one point; `point_step` bytes long if given. Raises `ValueError`."""
    names: list[str] = []
    formats: list[Any] = []
    offsets: list[int] = []
    for index, field in enumerate(fields):
        if field.datatype not in _DTYPES:
            raise ValueError(f"field {field.name!r} has the unknown datatype {field.datatype}; expected 1 to 8")
        name = field.name or f"{DUMMY_FIELD_PREFIX}_{index}"
        if name in names:
            raise ValueError(f"field {name!r} occurs twice in the cloud")
        names.append(name)
        formats.append(_DTYPES[field.datatype] if field.count <= 1 else (_DTYPES[field.datatype], (field.count,)))
        offsets.append(field.offset)
    layout: Any = {"names": names, "formats": formats, "offsets": offsets}
    if point_step:
        layout["itemsize"] = point_step
    dtype: np.dtype[Any] = np.dtype(layout)
    return dtype


def create_cloud(header: Any, fields: Iterable[Any], points: Any, point_step: int | None = None) -> Any:
    """Make a cloud of points: a structured array, an array (..., F), or rows of F numbers.

    An array (H, W, F), or a structured one (H, W), gives an organised cloud. Raises `ValueError` if points and fields
    do not fit.
    """
    fields = list(fields)
    dtype = dtype_from_fields(fields, point_step)
    if isinstance(points, np.ndarray) and points.dtype.names is not None:
        if points.dtype.names != dtype.names:
            raise ValueError(f"points have the fields {points.dtype.names}, the cloud {dtype.names}")
        rows = points if points.dtype == dtype else points.astype(dtype)
    elif isinstance(points, np.ndarray):
        width = sum(max(1, f.count) for f in fields)
        if points.shape[-1] != width:
            raise ValueError(f"points of shape {points.shape} do not hold the {width} numbers of a point at their end")
        rows = np.asarray(unstructured_to_structured(points, dtype))
    else:
        rows = np.array([tuple(point) for point in points], dtype)
    if rows.ndim not in (1, 2):
        raise ValueError(f"expected points (N,) or (H, W), got the shape {rows.shape}")
    height, width = (1, rows.shape[0]) if rows.ndim == 1 else rows.shape
    rows = np.ascontiguousarray(rows)
    return PointCloud2(
        header=header,
        height=height,
        width=width,
        is_dense=False,
        is_bigendian=sys.byteorder != "little",
        fields=fields,
        point_step=dtype.itemsize,
        row_step=dtype.itemsize * width,
        data=np.frombuffer(rows.tobytes(), np.uint8),
    )


def create_cloud_xyz32(header: Any, points: Any) -> Any:
    """Make a cloud of float32 x, y, z; `points` is an array (N, 3) or (H, W, 3), or rows of three numbers."""
    fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate("xyz")
    ]
    return create_cloud(header, fields, np.asarray(points, np.float32).reshape(*np.shape(points)[:-1], 3))
