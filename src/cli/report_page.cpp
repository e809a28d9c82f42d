#include "cli/report_page.h"

#include <string_view>

namespace veza::cli {
namespace {

// The data stand between the two halves. Nothing is loaded: the policy forbids it.
constexpr std::string_view kBefore = R"page(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>veza_backup report</title>
<style>
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --soft: #5b6570; --line: #d5dae0;
 --lane: #f3f5f7; --good: #1a7f4b; --bad: #c62f2f; --full: #1f5fbf; --diff: #5b9bd5; --incr: #8a63c9;
 --point: #b26a00; --load: #7a8794; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e4e8ec; --soft: #9aa5b1;
 --line: #323a43; --lane: #1c2229; --good: #46b97c; --bad: #ef6b6b; --full: #6ea2f0; --diff: #8fc1ee;
 --incr: #b79bea; --point: #e0a04a; --load: #8e9aa6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 90rem; background: var(--paper); color: var(--ink);
 font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.35rem; margin: 0 0 .25rem; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p { margin: .2rem 0; } .soft { color: var(--soft); } .bad { color: var(--bad); }
.facts { overflow-wrap: anywhere; }
.tools { display: flex; flex-wrap: wrap; gap: .35rem; margin: .8rem 0 .4rem; }
button { font: inherit; color: inherit; background: var(--lane); border: 1px solid var(--line);
 border-radius: 4px; padding: .2rem .6rem; cursor: pointer; }
svg { display: block; width: 100%; background: var(--paper); border: 1px solid var(--line);
 touch-action: pan-y; cursor: grab; }
svg text { fill: var(--ink); font-size: 12px; } svg text.soft { fill: var(--soft); }
#tip { position: fixed; display: none; max-width: 22rem; padding: .35rem .55rem; pointer-events: none;
 background: var(--ink); color: var(--paper); font-size: 13px; border-radius: 4px; white-space: pre-line;
 overflow-wrap: anywhere; z-index: 1; }
.scroll { overflow-x: auto; max-height: 28rem; border: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .6rem; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { position: sticky; top: 0; background: var(--lane); } td.right, th.right { text-align: right; }
td.long { white-space: normal; min-width: 16rem; }
</style>
</head>
<body>
<h1>Backups of a PostgreSQL cluster</h1>
<div class="facts" id="facts"></div>
<div class="tools" id="tools"></div>
<svg id="picture" role="img" aria-label="The time of the cluster; the tables below have the same facts"></svg>
<p class="soft" id="range"></p>
<div id="tables"></div>
<div id="tip"></div>
<script type="application/json" id="data">)page";

constexpr std::string_view kAfter = R"page(</script>
<script>
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const svg = document.getElementById('picture'), tip = document.getElementById('tip');
const pad = (n, w = 2) => String(n).padStart(w, '0');
const utc = (ms, fine) => {
  if (ms === null || ms === undefined) return '';
  const d = new Date(ms);
  return `${d.getUTCFullYear()}-${pad(d.getUTCMonth() + 1)}-${pad(d.getUTCDate())} ` +
    `${pad(d.getUTCHours())}:${pad(d.getUTCMinutes())}` +
    (fine ? `:${pad(d.getUTCSeconds())}.${pad(d.getUTCMilliseconds(), 3)}` : `:${pad(d.getUTCSeconds())}`);
};
const size = n => {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; ++i; }
  return (i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + ' ' + units[i];
};
const span = ms => {
  const s = ms / 1000;
  if (s < 60) return s.toFixed(1) + ' s';
  if (s < 3600) return `${Math.floor(s / 60)} min ${pad(Math.round(s % 60))} s`;
  return `${Math.floor(s / 3600)} h ${pad(Math.round(s % 3600 / 60))} min`;
};
const element = (name, attributes, parent, text) => {
  const made = name === 'svg' || parent && parent.namespaceURI === svg.namespaceURI
    ? document.createElementNS(svg.namespaceURI, name) : document.createElement(name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.appendChild(made);
  return made;
};

// --- what it is about
const facts = document.getElementById('facts');
element('p', {}, facts, `${data.repository}, system ${data.system_identifier}` +
  (data.postgres_version ? `, PostgreSQL ${data.postgres_version}` : ''));
element('p', { class: 'soft' }, facts, `Made at ${utc(data.generated)} by veza_backup ${data.version}. ` +
  'All times are UTC.');
for (const warning of data.warnings) element('p', { class: 'bad' }, facts, warning);

// --- the picture
const kinds = { full: '--full', diff: '--diff', incr: '--incr' };
const color = name => `var(${name})`;
const whole = [data.from, Math.max(data.to, data.from + 60000)];
let [from, to] = whole;
const lanes = [];
let width = 0, left = 0;
const x = t => left + (t - from) / (to - from) * (width - left - 8);
const hover = (shape, text) => { shape.dataset.tip = text; return shape; };

const timelines = data.timelines.map(t => t.id);
const layout = () => {
  lanes.length = 0;
  let y = 26;
  // On a narrow screen the names stand above what they name.
  const above = left < 50 ? 14 : 0;
  const add = (name, title, height) => {
    y += above;
    lanes.push({ name, title, y, height });
    y += height + 6;
  };
  add('window', 'can be restored', 20);
  for (const id of timelines) add('timeline ' + id, 'timeline ' + id, 16);
  add('backups', 'backups', 46);
  if (data.drills.length) add('drills', 'drills', 20);
  if (data.events.length) add('events', 'events', 20);
  add('load', 'transactions', 90);
  return y;
};
const lane = name => lanes.find(l => l.name === name);
const seen = (a, b) => a !== null && b >= from && a <= to;

const axis = height => {
  const steps = [1, 5, 15, 60, 180, 360, 720, 1440, 2880, 10080, 43200, 129600, 525600].map(m => m * 60000);
  const step = steps.find(s => (to - from) / s <= Math.max(2, (width - left) / 110)) || 315360000000;
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
    element('line', { x1: x(t), x2: x(t), y1: 20, y2: height, stroke: color('--line') }, svg);
    element('text', { x: x(t), y: 14, 'text-anchor': x(t) < 40 ? 'start' : 'middle', class: 'soft' }, svg,
      step >= 86400000 ? utc(t).slice(0, 10) : utc(t).slice(5, 16));
  }
};
const drawWindow = () => {
  const l = lane('window');
  for (const s of data.window) {
    if (!seen(s.from, s.to)) continue;
    const a = Math.max(left, x(s.from)), b = Math.min(width, x(s.to));
    hover(element('rect', { x: a, y: l.y + 2, width: Math.max(2, b - a), height: l.height - 4,
      fill: color('--good'), rx: 2 }, svg),
      `${utc(s.from, true)}\nto ${utc(s.to, true)}${s.to_is_exact ? '' : ' at most'}\n` +
      `${s.backups} backups, ended by: ${s.ended_by}`);
  }
};
const drawTimelines = () => {
  for (const t of data.timelines) {
    const l = lane('timeline ' + t.id), y = l.y + l.height / 2;
    if (t.begin === null || !seen(t.begin, t.end)) continue;
    const a = Math.max(left, x(t.begin)), b = Math.min(width, x(t.end));
    const parent = t.parent && lane('timeline ' + t.parent);
    if (parent && t.begin >= from)
      element('line', { x1: a, x2: a, y1: parent.y + parent.height / 2, y2: y, stroke: color('--soft'),
        'stroke-width': 2 }, svg);
    hover(element('line', { x1: a, x2: Math.max(a + 2, b), y1: y, y2: y, stroke: color('--soft'),
      'stroke-width': 4 }, svg), `timeline ${t.id}` + (t.parent ? `, from timeline ${t.parent} at ${t.switch_lsn}` : '') +
      `\n${utc(t.begin)} to ${utc(t.end)}`);
  }
  for (const gap of data.gaps) {
    const l = lane('timeline ' + gap.timeline);
    if (l && seen(gap.time, gap.time))
      hover(element('rect', { x: x(gap.time) - 3, y: l.y, width: 6, height: l.height, fill: color('--bad') }, svg),
        `gap after ${utc(gap.time)}\n${gap.text}`);
  }
};
const drawBackups = () => {
  const l = lane('backups'), row = { full: 8, diff: 23, incr: 38 };
  // Those with doubts last: no other may hide them.
  for (const b of [...data.backups].sort((a, c) => a.doubts.length - c.doubts.length)) {
    if (!seen(b.start, b.stop)) continue;
    hover(element('circle', { cx: x(b.stop), cy: l.y + (row[b.type] || 8), r: 5,
      fill: color(b.doubts.length ? '--bad' : kinds[b.type] || '--full') }, svg),
      `${b.type} ${b.label}\n${utc(b.start)} to ${utc(b.stop)}\n${size(b.size)}, stored ${size(b.stored)}` +
      b.doubts.map(d => '\n' + d).join(''));
  }
};
const drawDrills = () => {
  const l = lane('drills');
  for (const d of data.drills) {
    if (!seen(d.started, d.started)) continue;
    hover(element('rect', { x: x(d.started) - 4, y: l.y + 5, width: 9, height: 9,
      fill: color(d.passed ? '--good' : '--bad') }, svg),
      `drill of ${d.label} ${d.passed ? 'passed' : 'FAILED'}\n${utc(d.started)}` +
      (d.rto === null ? '' : `\nRTO ${span(d.rto)}`) + (d.rpo === null ? '' : `, RPO ${span(d.rpo)}`) +
      (d.error ? '\n' + d.error : ''));
  }
};
const drawEvents = () => {
  const l = lane('events');
  for (const e of data.events) {
    if (!seen(e.time, e.time)) continue;
    const at = x(e.time), y = l.y + 10;
    hover(element('path', { d: `M${at} ${y - 6}L${at + 6} ${y}L${at} ${y + 6}L${at - 6} ${y}Z`,
      fill: color('--point') }, svg), `${e.kind.replace('_', ' ')}\n${e.exact ? '' : 'about '}${utc(e.time)}\n${e.text}`);
  }
};
const drawLoad = () => {
  const l = lane('load'), bucket = data.bucket * 1000, bottom = l.y + l.height;
  const columns = new Map();
  for (const [time, commits, aborts, bytes] of data.load) {
    if (!seen(time, time + bucket)) continue;
    const key = Math.floor(x(time));
    const old = columns.get(key) || { time, commits: 0, aborts: 0, bytes: 0, width: 0 };
    columns.set(key, { time: old.time, commits: old.commits + commits, aborts: old.aborts + aborts,
      bytes: old.bytes + bytes, width: Math.max(1, x(time + bucket) - key) });
  }
  const most = Math.max(1, ...[...columns.values()].map(c => c.commits + c.aborts));
  for (const [key, c] of columns) {
    const a = Math.max(left, key), high = (c.commits + c.aborts) / most * (l.height - 4);
    if (key + c.width <= left) continue;
    hover(element('rect', { x: a, y: bottom - Math.max(1, high), width: Math.max(1, c.width - (a - key)),
      height: Math.max(1, high), fill: color('--load') }, svg),
      `${utc(c.time)}\n${c.commits} commits, ${c.aborts} aborts\n${size(c.bytes)} of WAL`);
  }
  element('text', { x: width - 10, y: l.y + 12, 'text-anchor': 'end', class: 'soft' }, svg, `at most ${most}`);
};
const draw = () => {
  width = svg.clientWidth;
  left = width < 600 ? 8 : 130;
  const height = layout();
  svg.setAttribute('height', height);
  svg.replaceChildren();
  axis(height);
  for (const l of lanes) {
    element('rect', { x: left, y: l.y, width: Math.max(0, width - left), height: l.height, fill: color('--lane') }, svg);
    element('text', { x: 8, y: left < 50 ? l.y - 3 : l.y + Math.min(l.height, 22) / 2 + 4 }, svg, l.title);
  }
  drawWindow(); drawTimelines(); drawLoad(); drawBackups();
  if (data.drills.length) drawDrills();
  if (data.events.length) drawEvents();
  document.getElementById('range').textContent = `${utc(from)} to ${utc(to)}`;
};
const show = (a, b) => {
  const most = (whole[1] - whole[0]) * 1.1, length = Math.min(most, Math.max(60000, b - a));
  const middle = (a + b) / 2;
  from = Math.min(Math.max(middle - length / 2, whole[0] - most * .1), whole[1] + most * .1 - length);
  to = from + length;
  draw();
};
const zoom = (factor, at = (from + to) / 2) => show(at - (at - from) * factor, at + (to - at) * factor);
const tools = document.getElementById('tools');
const tool = (title, action) => element('button', { type: 'button' }, tools, title).addEventListener('click', action);
tool('closer', () => zoom(.5));
tool('farther', () => zoom(2));
tool('earlier', () => show(from - (to - from) / 3, to - (to - from) / 3));
tool('later', () => show(from + (to - from) / 3, to + (to - from) / 3));
for (const [title, days] of [['day', 1], ['week', 7], ['month', 30]])
  tool(title, () => show(whole[1] - days * 86400000, whole[1]));
tool('all', () => show(...whole));
svg.addEventListener('wheel', e => {
  e.preventDefault();
  zoom(e.deltaY > 0 ? 1.25 : .8, from + (e.offsetX - left) / (width - left - 8) * (to - from));
}, { passive: false });
let drag = null;
svg.addEventListener('pointerdown', e => { drag = { x: e.clientX, from, to }; });
addEventListener('pointerup', () => { drag = null; });
addEventListener('pointermove', e => {
  if (drag) {
    const by = (drag.x - e.clientX) / (width - left - 8) * (drag.to - drag.from);
    if (by) show(drag.from + by, drag.to + by);
  }
  const text = e.target.dataset && e.target.dataset.tip;
  tip.style.display = text ? 'block' : 'none';
  if (text) {
    tip.textContent = text;
    tip.style.left = Math.max(4, Math.min(e.clientX + 12, innerWidth - tip.offsetWidth - 8)) + 'px';
    tip.style.top = Math.max(4, Math.min(e.clientY + 14, innerHeight - tip.offsetHeight - 8)) + 'px';
  }
});
draw();
new ResizeObserver(draw).observe(document.body);

// --- the tables
const tables = document.getElementById('tables');
const more = n => n ? `${n} older ones are left out.` : '';
const table = (title, note, columns, rows) => {
  element('h2', {}, tables, `${title} (${rows.length})`);
  if (note) element('p', { class: 'soft' }, tables, note);
  if (!rows.length) return;
  const made = element('table', {}, element('div', { class: 'scroll' }, tables));
  const head = element('tr', {}, element('thead', {}, made)), body = element('tbody', {}, made);
  for (const [name, kind] of columns) element('th', { class: kind || '' }, head, name);
  for (const cells of rows) {
    const row = element('tr', {}, body);
    cells.forEach((cell, i) => element('td', { class: columns[i][1] || '' }, row, cell));
  }
};
table('What can be restored', '', [['from'], ['to'], ['timelines', 'right'], ['backups', 'right'], ['ended by', 'long']],
  data.window.map(s => [utc(s.from, true), utc(s.to, true) + (s.to_is_exact ? '' : ' at most'),
    s.first_timeline === s.last_timeline ? s.last_timeline : `${s.first_timeline} to ${s.last_timeline}`, s.backups, s.ended_by]));
table('Gaps in the archive', more(data.gaps_left_out), [['after'], ['timeline', 'right'], ['', 'long']],
  data.gaps.map(g => [g.time === null ? 'not known' : utc(g.time), g.timeline, g.text]));
table('Backups', '', [['backup'], ['type'], ['started'], ['ended'], ['timeline', 'right'], ['size', 'right'], ['stored', 'right'],
  ['from'], ['doubts', 'long']],
  [...data.backups].reverse().map(b => [b.label, b.type, utc(b.start), utc(b.stop), b.timeline, size(b.size), size(b.stored),
    b.node + (b.from_standby ? ' (standby)' : ''), b.doubts.join('; ')]));
table('Drills', '', [['backup'], ['started'], ['result'], ['RTO', 'right'], ['RPO', 'right'], ['error', 'long']],
  [...data.drills].reverse().map(d => [d.label, utc(d.started), d.passed ? 'passed' : 'FAILED',
    d.rto === null ? '' : span(d.rto), d.rpo === null ? '' : span(d.rpo), d.error]));
table('Events', `Since ${utc(data.events_from)}. "vezactl timeline" has earlier ones, and what was dropped or truncated. ` +
  more(data.events_left_out),
  [['time'], ['timeline', 'right'], ['LSN'], ['event'], ['', 'long']],
  [...data.events].reverse().map(e => [e.time === null ? 'not known' : (e.exact ? '' : 'about ') + utc(e.time), e.timeline, e.lsn, e.kind.replace('_', ' '), e.text]));
</script>
</body>
</html>
)page";

}  // namespace

std::string ReportPage(const Json& report) {
  std::string page(kBefore);
  // In JSON, "<" stands in texts only. Without it, none of them can end the script.
  for (const char c : report.Print()) {
    if (c == '<') {
      page += "\\u003c";
    } else {
      page += c;
    }
  }
  return page.append(kAfter);
}

}  // namespace veza::cli
