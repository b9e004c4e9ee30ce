"""Files of well-known sources, made small: each is read as its publisher means it, without a word in the scenario."""

from __future__ import annotations

import io

import pyarrow as pa
from pyarrow import parquet

from tests.unit.adapters.tables.layout_files import read

UCI = """No,year,month,day,hour,PM2.5,PM10,SO2,NO2,CO,O3,TEMP,PRES,DEWP,RAIN,wd,WSPM,station
1,2013,3,1,0,4,4,4,7,300,77,-0.7,1023,-18.8,0,45,4.4,Hill
2,2013,3,1,1,NA,8,4,7,300,77,-1.1,1023.2,-18.2,0,90,4.7,Hill
"""
EMBASSY = """Words about the data.,,,,,,,,,,
Use them as agreed.,,,,,,,,,,
,,,,,,,,,,
Site,Parameter,Date (LST),Year,Month,Day,Hour,Value,Unit,Duration,QC Name
Post-7,PM2.5,2015-01-15 09:00,2015,1,15,9,81,\N{MICRO SIGN}g/m\N{SUPERSCRIPT THREE},1 Hr,Valid
Post-7,PM2.5,2015-01-15 10:00,2015,1,15,10,-999,\N{MICRO SIGN}g/m\N{SUPERSCRIPT THREE},1 Hr,Missing
"""
OPENAQ = """location_id,sensors_id,location,datetime,lat,lon,parameter,units,value
7,91,Yard,2026-02-22T01:00:00-07:00,35.0,-106.0,pm25,\N{MICRO SIGN}g/m\N{SUPERSCRIPT THREE},17.5
7,91,Yard,2026-02-22T02:00:00-07:00,35.0,-106.0,pm25,\N{MICRO SIGN}g/m\N{SUPERSCRIPT THREE},6.5
7,92,Yard,2026-02-22T01:00:00-07:00,35.0,-106.0,temperature,f,41.0
7,93,Yard,2026-02-22T01:00:00-07:00,35.0,-106.0,relativehumidity,%,38.0
7,94,Yard,2026-02-22T01:00:00-07:00,35.0,-106.0,co,ppm,0.2
"""
AIRNOW = """05/04/26|10:00|840000000001|Site A|-4|PM2.5|UG/M3|12.0|Agency
05/04/26|10:00|840000000001|Site A|-4|OZONE|PPB|30|Agency
05/04/26|10:00|840000000001|Site A|-4|TEMP|C|18.5|Agency
05/04/26|10:00|840000000002|Site B|-9|PM2.5|UG/M3|3.1|Agency
"""
AQS = """"State Code","County Code","Site Num","Parameter Code","POC","Date Local","Time Local","Date GMT","Time GMT",\
"Sample Measurement","Units of Measure"
"99","001","0001","88101",3,"2026-01-01","00:00","2026-01-01","06:00",9.4,"Micrograms/cubic meter (LC)"
"99","001","0001","88101",3,"2026-01-01","01:00","2026-01-01","07:00",-1.5,"Micrograms/cubic meter (LC)"
"99","001","0001","62101",1,"2026-01-01","00:00","2026-01-01","06:00",50,"Degrees Fahrenheit"
"""
SAMPLING = """SAMPLINGPOINT_LOCALID,DATETIME_BEGIN,DATETIME_END,PROPERTY,VALUE_NUMERIC,UNIT
SPO.YY_1,20260425050000,20260425060000,PM2.5,9.6,\N{MICRO SIGN}g/m3
SPO.YY_1,20260425060000,20260425070000,PM2.5,-1,\N{MICRO SIGN}g/m3
"""
SDS011 = """sensor_id;sensor_type;location;lat;lon;timestamp;P1;durP1;ratioP1;P2;durP2;ratioP2
11;SDS011;5;50.000;8.000;2026-05-04T10:00:12;8.10;;;3.40;;
11;SDS011;5;50.000;8.000;2026-05-04T11:02:31;10.20;;;4.80;;
"""
PURPLEAIR = """time_stamp,sensor_index,humidity,temperature,pressure,pm2.5_atm,pm2.5_atm_a,pm2.5_cf_1
2026-05-04T10:00:00Z,71,41,50,1003.05,6.1,6.0,5.9
1777892400,72,39,41,1002.7,5.0,5.0,4.9
"""
AURN = """Data of a national network


,,,Example Street,,,
Date,time,PM<sub>2.5</sub> particulate matter (Hourly measured),status,unit
01-05-2026,23:00,12.1,R,ugm-3
01-05-2026,24:00,13.5,R,ugm-3
02-05-2026,01:00,,,
"""
INFLUX = """#group,false,false,true,true,false,false,true,true
#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,double,string,string
#default,_result,,,,,,,
,result,table,_start,_stop,_time,_value,_field,device
,,0,2026-05-04T00:00:00Z,2026-05-05T00:00:00Z,2026-05-04T10:00:00Z,18.5,temperature,yard-1
#group,false
,,1,2026-05-04T00:00:00Z,2026-05-05T00:00:00Z,2026-05-04T10:00:00Z,55,humidity,yard-1
"""


def test_uci_multi_site_times_stand_in_four_columns_on_the_clocks_of_peking() -> None:
    found = read(UCI, "PRSA_Data_Hill_20130301-20170228.csv")
    assert found.table.layout == "UCI multi-site"
    assert [(device, time) for device, time, _ in found.rows] == [
        ("Hill", "2013-02-28T16:00"), ("Hill", "2013-02-28T17:00"),
    ]  # fmt: skip
    assert found.rows[0][2] == {
        "temp": -0.7, "precip": 0.0, "wind_dir": 45.0, "wind_spd": 4.4, "atmos_press": 1023.0, "pm25": 4.0,
    }  # fmt: skip
    assert "pm25" not in found.rows[1][2]


def test_us_embassies_lines_before_the_header_are_passed_over() -> None:
    found = read(EMBASSY, zone="Asia/Shanghai")
    assert (found.table.layout, found.rows) == ("US Embassy", [("Post-7", "2015-01-15T01:00", {"pm25": 81.0})])
    assert found.positions == [1]
    assert [rejection.position for rejection in found.rejected] == [2]
    assert "line 4 has Site" in found.table.why


def test_openaqs_values_of_one_time_are_one_reading_wherever_they_stand() -> None:
    found = read(OPENAQ)
    assert found.table.layout == "OpenAQ archive"
    assert found.rows == [
        ("7", "2026-02-22T08:00", {"pm25": 17.5, "temp": 5.0, "rel_humidity": 38.0}),
        ("7", "2026-02-22T09:00", {"pm25": 6.5}),
    ]
    assert found.rejected == []
    assert "co in ppm" in found.table.ignored


def test_airnows_files_have_no_header_and_are_known_by_their_name() -> None:
    found = read(AIRNOW, "HourlyData_2026050410.dat")
    assert (found.table.layout, found.reasons) == ("AirNow hourly", [])
    assert found.rows == [
        ("840000000001", "2026-05-04T10:00", {"temp": 18.5, "pm25": 12.0}),
        ("840000000002", "2026-05-04T10:00", {"pm25": 3.1}),
    ]


def test_aqs_sites_are_three_columns_and_their_time_is_that_of_greenwich_whatever_is_declared() -> None:
    found = read(AQS, zone="America/Chicago")
    assert found.rows == [("99-001-0001", "2026-01-01T06:00", {"pm25": 9.4, "temp": 10.0})]
    assert [rejection.position for rejection in found.rejected] == [2]
    assert found.table.converted == {"temp": "Degrees Fahrenheit"}


def test_eeas_parquet_and_its_older_text() -> None:
    table = pa.table(
        {
            "Samplingpoint": ["YY/SPO.1", "YY/SPO.1"],
            "Pollutant": pa.array([6001, 6001], pa.int32()),
            "Start": pa.array([1777852800 * 10**9, 1777856400 * 10**9], pa.timestamp("ns")),
            "End": pa.array([1777856400 * 10**9, 1777860000 * 10**9], pa.timestamp("ns")),
            "Value": pa.array(["9.6", "-999"]).cast(pa.decimal128(38, 18)),
            "Unit": ["ug.m-3", "ug.m-3"],
            "Validity": pa.array([1, -1], pa.int32()),
        }
    )
    file = io.BytesIO()
    parquet.write_table(table, file)
    found = read(file.getvalue(), "a.parquet")
    assert (found.table.layout, found.rows) == ("EEA", [("YY/SPO.1", "2026-05-04T00:00", {"pm25": 9.6})])
    assert [rejection.position for rejection in found.rejected] == [2]
    older = read(SAMPLING)
    assert older.rows == [("SPO.YY_1", "2026-04-25T05:00", {"pm25": 9.6})]
    assert [rejection.position for rejection in older.rejected] == [2]


def test_sensor_communitys_p2_is_fine_dust() -> None:
    assert read(SDS011).rows == [("11", "2026-05-04T10:00", {"pm25": 3.4}), ("11", "2026-05-04T11:02", {"pm25": 4.8})]


def test_purpleairs_temperature_is_fahrenheit_and_one_of_its_dust_columns_is_used() -> None:
    found = read(PURPLEAIR)
    assert found.rows == [
        ("71", "2026-05-04T10:00", {"temp": 10.0, "rel_humidity": 41.0, "atmos_press": 1003.05, "pm25": 6.1}),
        ("72", "2026-05-04T11:00", {"temp": 5.0, "rel_humidity": 39.0, "atmos_press": 1002.7, "pm25": 5.0}),
    ]
    assert found.table.converted == {"temp": "degF"}


def test_aurns_station_is_told_beside_the_file() -> None:
    found = read(AURN, device="Street")
    assert found.rows == [
        ("Street", "2026-05-01T23:00", {"pm25": 12.1}), ("Street", "2026-05-02T00:00", {"pm25": 13.5}),
    ]  # fmt: skip
    assert found.reasons == [(3, "no_values")]


def test_influxs_tables_stand_one_behind_the_other() -> None:
    assert read(INFLUX).rows == [("yard-1", "2026-05-04T10:00", {"temp": 18.5, "rel_humidity": 55.0})]
