"""The look of every page: one style sheet, light and dark, screen and paper."""

from __future__ import annotations

from shared.app.reports.markup import Html

STYLE = Html("""
:root {
  color-scheme: light dark; --paper: #f7f6f3; --card: #fff; --ink: #16202a; --muted: #5c6873; --hair: #e3e1da;
  --grid: #e9e7e1; --model: #0b6fb8; --truth: #27313b; --floor: #d05a00; --other: #a3478a; --good: #17714b;
  --warn: #8f5600; --bad: #b3261e; --tint: #e8f1f8; --hover: rgba(11,111,184,.10); --p0: #0b6fb8; --p1: #5ba7dc;
  --p2: #9aa5af; --p3: #d9a032; --p4: #c9cdd2; --p5: #d05a00;
}
@media screen and (prefers-color-scheme:dark) {
  :root {
    --paper: #0f1419; --card: #171e25; --ink: #e6ebf0; --muted: #98a5b2; --hair: #2a333c; --grid: #262f38;
    --model: #5ab2f2; --truth: #d7dee5; --floor: #ff9452; --other: #e08fc6; --good: #5fc797; --warn: #e7b25a;
    --bad: #ff8f86; --tint: #14293a; --hover: rgba(90,178,242,.14); --p0: #5ab2f2; --p1: #2f7cb3; --p2: #78848f;
    --p3: #d9a032; --p4: #4a545e; --p5: #ff9452;
  }
}
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 "Inter","Segoe UI",-apple-system,BlinkMacSystemFont,Roboto,"Helvetica Neue",
    "Noto Sans","Liberation Sans",Arial,sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
main,header.top,footer { max-width: 1080px; margin: 0 auto; padding: 0 clamp(1rem,4vw,2.5rem) }
header.top { padding-top: clamp(1.5rem,4vw,3rem) }
.brand { display: flex; align-items: center; gap: .5rem; font-weight: 600; font-size: .875rem; letter-spacing: .01em }
.brand svg { width: 1.5rem; height: 1.5rem }
.brand span { color: var(--muted); font-weight: 400 }
h1 {
  font-size: clamp(1.6rem,1.1rem + 2.2vw,2.5rem); line-height: 1.15; letter-spacing: -.022em; font-weight: 650;
  margin: 1.1rem 0 .5rem; text-wrap: balance;
}
h2 { font-size: 1.25rem; letter-spacing: -.012em; line-height: 1.3; margin: 0 0 .25rem; font-weight: 650 }
p { margin: 0 0 .75rem; max-width: 68ch }
.lead { font-size: 1.0625rem; color: var(--muted); margin-bottom: 0 }
.lead strong,.lead b { color: var(--ink); font-weight: 600 }
.muted { color: var(--muted) }
section { margin: clamp(1.75rem,4vw,2.75rem) 0 }
section>p { color: var(--muted) }
bdi.id { unicode-bidi: isolate }
code { font: .875em/1.4 ui-monospace,"SF Mono","Cascadia Mono",Menlo,Consolas,"Liberation Mono",monospace }
.status {
  display: inline-flex; align-items: center; gap: .4rem; font-size: .8125rem; font-weight: 600; letter-spacing: 0;
  line-height: 1.5; padding: .1rem .65rem .1rem .5rem; border-radius: 99px; border: 1px solid currentColor;
  vertical-align: .25em; white-space: nowrap;
}
.good { color: var(--good) }
.warn { color: var(--warn) }
.bad { color: var(--bad) }
.callout {
  border: 1px solid var(--hair); border-left: 4px solid currentColor; background: var(--card); border-radius: 8px;
  padding: 1rem 1.25rem; margin-top: 1.5rem;
}
.callout>* { color: var(--ink) }
.callout strong { display: block; color: inherit; margin-bottom: .15rem }
.callout p:last-child { margin: 0 }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit,minmax(min(100%,10.5rem),1fr)); gap: .75rem;
  margin: 1.5rem 0 0; padding: 0;
}
.tile {
  background: var(--card); border: 1px solid var(--hair); border-radius: 12px; padding: 1rem 1.1rem .95rem;
  min-width: 0;
}
.tile dt { font-size: .8125rem; color: var(--muted); line-height: 1.3 }
.tile dd { margin: 0 }
.tile .big {
  font-size: 1.75rem; font-weight: 650; letter-spacing: -.025em; line-height: 1.25; margin-top: .2rem;
  white-space: nowrap;
}
.tile .big small { font-size: .8125rem; font-weight: 400; letter-spacing: 0; color: var(--muted); margin-left: .3rem }
.tile .more { font-size: .8125rem; color: var(--muted); line-height: 1.4 }
.grid2 { display: grid; grid-template-columns: repeat(auto-fit,minmax(min(100%,26rem),1fr)); gap: 1rem }
.grid2 { align-items: start; margin-top: 1rem }
.grid2>* { min-width: 0 }
figure.chart {
  margin: 1rem 0 0; background: var(--card); border: 1px solid var(--hair); border-radius: 12px;
  padding: 1.1rem clamp(.9rem,2vw,1.4rem) 1.2rem; break-inside: avoid;
}
.grid2>figure.chart { margin: 0 }
figcaption .name { display: flex; gap: .5rem; align-items: baseline; flex-wrap: wrap }
figcaption strong { font-weight: 600 }
figcaption .muted,figcaption p,.legend { font-size: .8125rem }
figcaption p { color: var(--muted); margin: .1rem 0 0; line-height: 1.45 }
.legend { display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; list-style: none; margin: .5rem 0 0; padding: 0 }
.legend li { display: flex; align-items: center; gap: .4rem }
.swatch { display: inline-block; width: 1.1rem; height: 0; border-top: 2.5px solid; border-radius: 2px }
.swatch.model { border-color: var(--model) }
.swatch.truth { border-color: var(--truth) }
.swatch.floor { border-color: var(--floor); border-top-style: dashed }
.swatch.other { border-color: var(--other); border-top-style: dotted }
.swatch.band {
  height: .7rem; border: 0; border-radius: 3px; background: var(--model); opacity: .22; print-color-adjust: exact;
}
.swatch.point {
  width: .6rem; height: .6rem; border: 0; border-radius: 50%; background: var(--model); print-color-adjust: exact;
}
.swatch.point.floor { background: none; border: 2.5px solid var(--floor) }
.swatch.point.other { border-radius: 0; background: var(--other); width: .5rem; height: .5rem }
.hero {
  display: grid; grid-template-columns: repeat(auto-fit,minmax(min(100%,24rem),1fr)); gap: .75rem;
  margin-top: 1.5rem;
}
.hero>figure.chart,.hero>.tiles { margin: 0 }
.hero>.tiles { grid-template-columns: 1fr 1fr; align-content: stretch }
.plot { position: relative; height: clamp(190px,26vw,280px); margin: 1rem .3rem 1.5rem 2.9rem }
.plot.square { height: auto; aspect-ratio: 1; max-width: 26rem }
.plot>svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible }
.plot .y,.plot .x,.axis .x {
  position: absolute; font-size: .75rem; line-height: 1; color: var(--muted); white-space: nowrap;
}
.plot .up,.plot .across { position: absolute; font-size: .75rem; color: var(--muted) }
.plot .up { left: .4rem; top: .1rem }
.plot .across { right: .4rem; bottom: .1rem }
.plot .y { right: 100%; padding-right: .55rem; transform: translateY(50%) }
.plot .x,.axis .x { top: 100%; padding-top: .5rem; transform: translateX(-50%) }
.plot .x.last { transform: translateX(-100%) }
svg path { fill: none; vector-effect: non-scaling-stroke }
.grid { stroke: var(--grid); stroke-width: 1 }
.line { stroke-width: 1.75; stroke-linejoin: round; stroke-linecap: round }
.line.truth { stroke: var(--truth); stroke-width: 1.4 }
.line.model { stroke: var(--model) }
.line.floor { stroke: var(--floor); stroke-dasharray: 5 4; stroke-width: 1.4 }
.line.other { stroke: var(--other); stroke-dasharray: 1.5 4 }
.spot { stroke-width: 5; stroke-linecap: round }
.spot.truth { stroke: var(--truth) }
.spot.model { stroke: var(--model) }
.spot.floor { stroke: var(--floor) }
.spot.other { stroke: var(--other) }
svg path.band { fill: var(--model); opacity: .18 }
.ground { fill: var(--tint) }
svg path.cell { fill: var(--model) }
.perfect { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 4 4; opacity: .65 }
.hover rect { fill: transparent }
.hover rect:hover { fill: var(--hover) }
.rows { margin-top: .9rem; display: grid; row-gap: .15rem }
.row {
  display: grid; grid-template-columns: minmax(4.5rem,28%) 1fr minmax(3rem,auto); column-gap: .75rem;
  align-items: center; min-height: 1.75rem; font-size: .875rem; line-height: 1.25;
}
.row .label { overflow-wrap: anywhere }
.row .label small { display: block; color: var(--muted); font-size: .8125rem }
.rows.told .row { grid-template-columns: minmax(8rem,44%) 1fr minmax(3rem,auto); padding: .3rem 0 }
.row .value { text-align: right; font-weight: 600 }
.row .track { position: relative; height: 1.5rem }
.row .track>svg { display: block; width: 100%; height: 100%; overflow: visible }
.row .track>svg:has(rect) { height: .7rem; margin: .4rem 0 }
.row .axis { height: 1.4rem }
.row .axis .x { top: 0; padding-top: .2rem }
.bar.model { fill: var(--model) }
.bar.floor { fill: var(--floor) }
.bar.other { fill: var(--other) }
.reach { stroke: var(--hair); stroke-width: 3; stroke-linecap: round }
.mark { stroke: var(--ink); stroke-width: 1.25; stroke-dasharray: 3 3; opacity: .7 }
.dot { stroke-width: 11; stroke-linecap: round }
.dot.model { stroke: var(--model) }
.dot.floor { stroke: var(--floor) }
.dot.other { stroke: var(--other); stroke-linecap: square; stroke-width: 7 }
.dot.truth { stroke: var(--truth) }
.dot.hole { stroke: var(--card); stroke-width: 5.5 }
.split { display: block; width: 100%; height: 1.1rem; margin: .9rem 0 .8rem; border-radius: 5px; overflow: hidden }
.part { stroke: var(--card); stroke-width: 2; vector-effect: non-scaling-stroke }
.p0 { fill: var(--p0) }
.p1 { fill: var(--p1) }
.p2 { fill: var(--p2) }
.p3 { fill: var(--p3) }
.p4 { fill: var(--p4) }
.p5 { fill: var(--p5) }
.parts {
  list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; font-size: .875rem;
}
.parts li { display: flex; align-items: center; gap: .45rem }
.key { width: .7rem; height: .7rem; border-radius: 2px }
.nothing { color: var(--muted); margin: 1rem 0 0 }
.wide { overflow-x: auto; margin-top: 1rem }
table { border-collapse: collapse; width: 100%; font-size: .875rem }
caption { text-align: left; color: var(--muted); font-size: .8125rem; padding-bottom: .4rem }
th,td { padding: .45rem .9rem .45rem 0; border-bottom: 1px solid var(--hair); text-align: left; vertical-align: top }
thead th {
  color: var(--muted); font-weight: 500; font-size: .8125rem; line-height: 1.3; vertical-align: bottom;
  overflow-wrap: break-word;
}
td.n,th.n { text-align: right; white-space: nowrap; padding-right: 0; padding-left: .9rem }
tbody tr:last-child>* { border-bottom: 0 }
tr.best td,tr.best th { font-weight: 650 }
tbody th[scope=row] { min-width: 6.5rem }
table.facts th { font-weight: 400; color: var(--muted); width: 11rem; max-width: 38% }
details { margin-top: 1rem }
summary { cursor: pointer; color: var(--model); font-size: .875rem; width: fit-content }
.steps {
  list-style: none; margin: 1.1rem 0 0; padding: 0; display: grid;
  grid-template-columns: repeat(auto-fit,minmax(min(100%,11rem),1fr)); gap: .9rem 1.2rem; counter-reset: step;
}
.steps li::before {
  content: counter(step); position: absolute; top: 0; left: 0; width: 1.6rem; height: 1.6rem; border-radius: 50%;
  background: var(--model); color: var(--card); font-weight: 650; display: grid; place-items: center; z-index: 1;
  print-color-adjust: exact;
}
.steps li::after {
  content: ""; position: absolute; top: .75rem; left: 2rem; right: -.6rem; border-top: 2px solid var(--hair);
}
.steps li:last-child::after { display: none }
.steps li {
  position: relative; padding-top: 2.1rem; font-size: .8125rem; line-height: 1.4; color: var(--muted);
  counter-increment: step;
}
.steps b { display: block; color: var(--ink); font-size: .9375rem; font-weight: 600 }
.steps span { display: block; margin-top: .15rem; overflow-wrap: anywhere }
.steps .took { color: var(--ink) }
footer { color: var(--muted); font-size: .8125rem; padding-top: 1rem; padding-bottom: 2.5rem }
footer p { border-top: 1px solid var(--hair); padding-top: 1rem; max-width: none }
@media (max-width:560px) {
  .minor { display: none }
  .plot { margin-left: 2.5rem }
  .tiles { grid-template-columns: 1fr 1fr }
  .tile { padding: .8rem .85rem }
  .tile .big { font-size: 1.4rem; white-space: normal }
  table.facts th { width: 40% }
  .row { grid-template-columns: minmax(4.5rem,34%) 1fr minmax(2.6rem,auto); column-gap: .5rem }
  td.n,th.n { padding-left: .5rem }
}
@media print {
  :root { --paper: #fff; color-scheme: light }
  body { font-size: 11pt }
  .tile,figure.chart { border-color: #ccc }
  section { break-inside: auto }
  h2 { break-after: avoid }
  .hover,summary { display: none }
}
""")
