"""Units as headers, keys and aliases spell them."""

from __future__ import annotations

from shared.core.scenario import Channel, Unit

CANONICAL = Unit(factor=1.0)
_LETTERS = {"µ": "u", "μ": "u", "³": "3", "²": "2", "°": "deg", "º": "deg", "⁻": "-", "¹": "1"}
_TYPOGRAPHY = str.maketrans({**_LETTERS, **dict.fromkeys("^* _.", "")})
_SPELLINGS = {
    "temperature": (
        ("degC", "C", "celsius", "degrees C", "degrees celsius", "deg celsius", "Cel"),
        ("degF", "F", "fahrenheit", "degrees F", "degrees fahrenheit", "deg fahrenheit"),
        ("K", "kelvin", "degK"),
    ),
    "share": (("%", "percent", "pct", "%RH", "RH%", "% r.h."),),
    "pressure": (
        ("hPa", "mbar", "mb", "millibar", "millibars", "hectopascal", "hectopascals"),
        ("Pa", "pascal"),
        ("kPa", "kilopascal"),
        ("bar",),
        ("atm",),
        ("psi",),
        ("inHg", "inches Hg", '"Hg'),
        ("mmHg", "torr"),
    ),
    "concentration": (
        ("ug/m3", "ug m-3", "ug/cbm", "mcg/m3", "micrograms/m3", "micrograms/cubic meter"),
        ("mg/m3", "mg m-3", "milligrams/m3", "milligrams/cubic meter"),
        ("ppb",),
        ("ppm",),
    ),
    "speed": (
        ("m/s", "m s-1", "mps", "meters/second"),
        ("km/h", "kmh", "kph", "km h-1"),
        ("kn", "kt", "kts", "knot", "knots"),
        ("mph", "mi/h", "miles/hour"),
    ),
    "length": (("mm", "millimeter", "millimeters"), ("inch", "in", "inches"), ("cm",), ("m",)),
    "angle": (("deg", "degree", "degrees", "deg true"),),
}


def plain(name: str) -> str:
    """A unit's name without case, blanks and typography (µ, ³, °).

    >>> plain("µg/m³"), plain("°C"), plain("in_Hg")
    ('ug/m3', 'degc', 'inhg')
    """
    return name.strip().casefold().translate(_TYPOGRAPHY)


_GROUPS = {
    plain(spelling): (quantity, group[0])
    for quantity, groups in _SPELLINGS.items()
    for group in groups
    for spelling in group
}


def unit_of(channel: Channel, name: str) -> Unit | None:
    """The unit that a header or key spells, None when the channel does not know it.

    Upper and lower case, blanks, typography and the usual spellings of a unit are the same.
    """
    known = {channel.unit: CANONICAL, **channel.units}
    if name in known:
        return known[name]
    spelled = {plain(key): unit for key, unit in known.items()}
    if plain(name) in spelled:
        return spelled[plain(name)]
    group = _GROUPS.get(plain(name))
    return None if group is None else {_GROUPS.get(key): unit for key, unit in spelled.items()}.get(group)


def is_like(channel: Channel, name: str) -> bool:
    """Whether a text is a usual unit of the quantity that the channel measures, be it one of its units or not.

    `temp_F` is a temperature in a unit, `temp_in` is another thermometer.
    """
    group, own = _GROUPS.get(plain(name)), _GROUPS.get(plain(channel.unit))
    return group is not None and own is not None and group[0] == own[0]
