"""Words for CamVid's classes: those that training draws from, and those it never sees."""

from __future__ import annotations

CAMVID_WORDS: dict[str, tuple[str, ...]] = {
    "sky": ("sky", "clouds", "blue sky", "cloudy sky"),
    "building": ("building", "house", "wall", "facade", "tower", "shop"),
    "pole": ("pole", "column", "lamp post", "street light", "post"),
    "road": ("road", "lane", "asphalt", "roadway", "driveway", "highway"),
    "pavement": ("pavement", "sidewalk", "walkway", "curb", "kerb"),
    "tree": ("tree", "vegetation", "bush", "foliage", "plants", "hedge"),
    "sign symbol": ("sign symbol", "traffic sign", "traffic light", "road sign", "signal", "billboard"),
    "fence": ("fence", "railing", "barrier", "gate"),
    "car": ("car", "vehicle", "van", "truck", "bus", "suv"),
    "pedestrian": ("pedestrian", "person", "human", "man", "woman", "people walking"),
    "bicyclist": ("bicyclist", "cyclist", "person on a bicycle", "bike rider", "bicycle"),
}
# never trained on: they measure unknown words
CAMVID_HELD_OUT: dict[str, str] = {
    "sky": "heaven", "building": "buildings", "pole": "lamppost", "road": "street", "pavement": "footpath",
    "tree": "trees", "sign symbol": "street sign", "fence": "fencing", "car": "automobile",
    "pedestrian": "person on foot", "bicyclist": "biker",
}  # fmt: skip
