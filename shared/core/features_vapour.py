"""Water vapour in the air, from temperature and relative humidity."""

from __future__ import annotations

import numpy as np

from shared.core.features_block import Block, Feature, feature
from shared.core.features_plan import Plan, Scalar
from shared.core.features_window import Summary
from shared.core.readings import Floats

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
    return E0 * np.exp(A * warmth / (B + warmth))


def dew_point(temperature: Floats, humidity: Floats) -> Floats:
    """Temperature at which the vapour in the air saturates it, degC: the Magnus formula solved for it.

    Args:
        temperature: Air temperature, degC, as in `saturation_pressure`.
        humidity: Relative humidity over water, %, below 1 counted as 1; same shape.

    Source:
        See `saturation_pressure`.
    """
    warmth = np.clip(temperature, COLDEST, HOTTEST)
    exponent = np.log(np.maximum(humidity, DRIEST) / np.float32(100)) + A * warmth / (B + warmth)
    return B * exponent / (A - exponent)


def absolute_humidity(temperature: Floats, pressure: Floats) -> Floats:
    """Mass of vapour in the air, g/m3: the gas law for a vapour pressure in hPa at a temperature in degC."""
    warmth = np.clip(temperature, COLDEST, HOTTEST)
    return VAPOUR * pressure / (warmth + KELVIN)


def vapour(plan: Plan) -> Block:
    """Vapour terms of the newest temperature and humidity; none unless these are measured in degC and %."""
    units = {scalar.name: scalar.unit for scalar in plan.scalars}
    if (units.get("temp"), units.get("rel_humidity")) != ("degC", "%"):
        return Block((), lambda _summary, _out: None)
    rows = plan.rows["temp"], plan.rows["rel_humidity"]
    features = _features(
        *(scalar for name in ("temp", "rel_humidity") for scalar in plan.scalars if scalar.name == name)
    )

    def fill(summary: Summary, out: Floats) -> None:
        temperature, humidity = (summary.latest[row] for row in rows)
        saturation = saturation_pressure(temperature)
        pressure = saturation * humidity / np.float32(100)
        out[0] = saturation
        out[1] = saturation - pressure
        out[2] = absolute_humidity(temperature, pressure)
        out[3] = dew_point(temperature, humidity)

    return Block(features, fill)


def _features(temperature: Scalar, humidity: Scalar) -> tuple[Feature, ...]:
    warmth = np.array([temperature.low, temperature.high], np.float32)
    damp = np.array([humidity.low, humidity.high], np.float32)
    pressures, dews = saturation_pressure(warmth), dew_point(warmth, damp)
    most = pressures[1:] * max(damp[1], 0) / 100
    least = pressures[1] * min(1 - damp[1] / 100, 0), pressures[1] * (1 - damp[0] / 100)
    return (
        feature("vapour.saturation_pressure", "over water, at the newest temperature", *pressures.tolist(), "hPa"),
        feature("vapour.deficit", "saturation pressure minus vapour pressure", *map(float, least), "hPa"),
        feature(
            "vapour.absolute_humidity",
            "mass of vapour in the air",
            0,
            absolute_humidity(warmth[1:], most).item(),
            "g/m3",
        ),
        feature("vapour.dew_point", "dew point of the newest temperature and humidity", *dews.tolist(), "degC"),
    )
