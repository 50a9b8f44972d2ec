"""Words for CamVid's classes: those that training draws from, and those it never sees."""

from __future__ import annotations

CAMVID_WORDS: dict[str, tuple[str, ...]] = {
    "sky": ("sky", "clouds", "blue sky", "cloudy sky", "overcast sky"),
    "building": (
        "building", "house", "wall", "facade", "tower", "shop", "office building", "apartment block", "church",
    ),
    "pole": ("pole", "column", "lamp post", "street light", "post", "utility pole", "mast"),
    "road": ("road", "lane", "asphalt", "roadway", "driveway", "highway", "avenue", "boulevard", "carriageway"),
    "pavement": ("pavement", "sidewalk", "walkway", "curb", "kerb", "pathway", "walking path", "footway"),
    "tree": ("tree", "vegetation", "bush", "foliage", "plants", "hedge", "shrub", "leaves"),
    "sign symbol": (
        "sign symbol", "traffic sign", "traffic light", "road sign", "signal", "billboard", "signboard", "stop sign",
    ),
    "fence": ("fence", "railing", "barrier", "gate", "wire fence", "guardrail"),
    "car": ("car", "vehicle", "van", "truck", "bus", "suv", "motorcar", "taxi"),
    "pedestrian": ("pedestrian", "person", "human", "man", "woman", "people walking", "people", "passer-by", "child"),
    "bicyclist": ("bicyclist", "cyclist", "person on a bicycle", "bike rider", "bicycle", "rider"),
}  # fmt: skip
# never trained on: they measure unknown words
CAMVID_HELD_OUT: dict[str, str] = {
    "sky": "heaven", "building": "buildings", "pole": "lamppost", "road": "street", "pavement": "footpath",
    "tree": "trees", "sign symbol": "street sign", "fence": "fencing", "car": "automobile",
    "pedestrian": "person on foot", "bicyclist": "biker",
}  # fmt: skip
