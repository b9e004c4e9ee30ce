"""Water vapour in the air, from temperature and relative humidity."""

from __future__ import annotations

import numpy as np

from shared.core.forecast.features.block import Block, feature
from shared.core.forecast.features.plan import Plan, Scalar
from shared.core.intake.readings import Floats
from shared.core.model.feature import Feature

A, B, E0 = np.float32(17.62), np.float32(243.12), np.float32(6.112)  # 1, degC, hPa
COLDEST, HOTTEST = np.float32(-100), np.float32(100)  # degC: beyond them the formula means nothing
DRIEST = np.float32(1)  # %: a sensor that says 0 would give a dew point without bound
VAPOUR = np.float32(216.68)  # g K / J: 100 Pa/hPa * molar mass of water 18.015 g/mol / gas constant 8.3145 J/(mol K)
KELVIN = np.float32(273.15)


def saturation_pressure(temperature: Floats) -> Floats:
    """Saturation vapour pressure over water, hPa.

    Args:
        temperature: Air temperature, degC, counted as -100 or 100 beyond these; any shape, contiguous.

    Source:
        Magnus formula with Sonntag's constants: WMO-No. 8, Guide to Meteorological Instruments and Methods of
        Observation, part I chapter 4, annex 4.B (-45 to 60 degC).
    """
    warmth = np.clip(temperature, COLDEST, HOTTEST)
    pressure: Floats = E0 * np.exp(A * warmth / (B + warmth))
    return pressure


def dew_point(temperature: Floats, humidity: Floats) -> Floats:
    """Temperature at which the vapour in the air saturates it, degC: the Magnus formula solved for it.

    Args:
        temperature: Air temperature, degC, as in `saturation_pressure`.
        humidity: Relative humidity over water, %, below 1 counted as 1; same shape.

    Source:
        See `saturation_pressure`.
    """
    warmth = np.clip(temperature, COLDEST, HOTTEST)
    exponent: Floats = np.log(np.maximum(humidity, DRIEST) / np.float32(100)) + A * warmth / (B + warmth)
    dew: Floats = B * exponent / (A - exponent)
    return dew


def absolute_humidity(temperature: Floats, pressure: Floats) -> Floats:
    """Mass of vapour in the air, g/m3: the gas law for a vapour pressure in hPa at a temperature in degC."""
    warmth = np.clip(temperature, COLDEST, HOTTEST)
    return VAPOUR * pressure / (warmth + KELVIN)


def vapour(plan: Plan) -> Block:
    """Vapour terms of the newest temperature and humidity, in degC and % as the scenario sees to; none without both."""
    temperature, humidity = plan.of_role("temperature"), plan.of_role("relative_humidity")
    if temperature is None or humidity is None:
        return Block((), lambda _summary, _out: None)
    warm, damp = plan.rows[temperature.name], plan.rows[humidity.name]
    return Block(
        _features(temperature, humidity),
        lambda summary, out: _fill(summary.latest[warm], summary.latest[damp], out),
    )


def _fill(temperature: Floats, humidity: Floats, out: Floats) -> None:
    out[0] = saturation_pressure(temperature)
    pressure = out[0] * humidity / np.float32(100)
    np.subtract(out[0], pressure, out=out[1])
    out[2] = absolute_humidity(temperature, pressure)
    out[3] = dew_point(temperature, humidity)


def _features(temperature: Scalar, humidity: Scalar) -> tuple[Feature, ...]:
    corners = np.array([[t, h] for t in (temperature.low, temperature.high) for h in (humidity.low, humidity.high)])
    values = np.empty((4, 4), np.float32)
    warm, damp = np.ascontiguousarray(corners.T, np.float32)
    _fill(warm, damp, values)  # each term's extremes lie in the corners
    (e0, e1), (d0, d1), (a0, a1), (t0, t1) = ((min(row), max(row)) for row in values.tolist())
    return (
        feature("vapour.saturation_pressure", "over water, at the newest temperature", e0, e1, "hPa"),
        feature("vapour.deficit", "saturation pressure minus vapour pressure", d0, d1, "hPa"),
        feature("vapour.absolute_humidity", "mass of vapour in the air", a0, a1, "g/m3"),
        feature("vapour.dew_point", "dew point of the newest temperature and humidity", t0, t1, "degC"),
    )
