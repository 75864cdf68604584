"""Style sheet of the report: light, and dark where the reader prefers it."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #ffffff; --ink: #171a21; --muted: #667085; --line: #e4e7ec;
  --accent: #f97316; --best: #fff3e8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1115; --card: #181b21; --ink: #eceef2; --muted: #98a2b3; --line: #2b303a;
    --best: #33231a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
header, main { max-width: 1120px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 48px; padding-bottom: 12px; }
h1 {
  font-size: clamp(1.7rem, 4vw, 2.5rem); line-height: 1.15; letter-spacing: -0.02em;
  margin: 0 0 12px;
}
h2 { font-size: 1.25rem; letter-spacing: -0.01em; margin: 0 0 4px; }
header > p, section > p { max-width: 74ch; color: var(--muted); margin: 0 0 16px; }
header > .kicker {
  color: var(--accent); font-weight: 650; font-size: .85rem; letter-spacing: .04em; margin: 0 0 8px;
}
header > .order { color: var(--ink); font-weight: 600; margin: 18px 0 2px; max-width: none; }
header > .facts { font-size: .9rem; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 24px; margin: 20px 0;
}
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 14px; }
.tile {
  background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 16px 20px;
}
.tile span, .keys span { font-size: .9rem; color: var(--muted); }
.tile span::before, .keys span::before {
  content: ""; display: inline-block; width: 10px; height: 10px; border-radius: 3px;
  background: var(--key); margin-right: 8px;
}
.tile b { display: block; font-size: 2.1rem; line-height: 1.2; letter-spacing: -0.02em; }
.tile small { font-size: .9rem; font-weight: 500; color: var(--muted); letter-spacing: 0; }
.keys span { margin-right: 20px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child { text-align: left; font-weight: 500; }
thead th { color: var(--muted); font-size: .85rem; font-weight: 600; }
tbody tr:nth-child(-n+2) th { font-weight: 700; }
tbody tr:last-child > * { border-bottom: 0; }
td.best { font-weight: 700; background: var(--best); }
.grid {
  display: grid; grid-template-columns: repeat(var(--columns), minmax(150px, 1fr));
  gap: 8px; margin-top: 12px;
}
.heading { font-size: .82rem; font-weight: 600; color: var(--muted); }
.heading::first-letter { text-transform: uppercase; }
figure { margin: 0; }
figure img {
  display: block; width: 100%; border-radius: 6px; outline: 1px solid var(--line);
}
figcaption {
  font-size: .78rem; color: var(--muted); text-align: right; padding: 2px 2px 0;
  font-variant-numeric: tabular-nums;
}
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 24px; }
.pair figcaption { text-align: center; }
svg { display: block; width: 100%; height: auto; font-size: 12px; }
svg .tick, svg .value { fill: var(--muted); }
svg .name { fill: var(--ink); font-size: 13px; }
svg .value { font-size: 9px; }
svg .grid { stroke: var(--line); }
.legend {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 6px 16px;
  list-style: none; padding: 0; margin: 12px 0 0; font-size: .88rem;
}
.legend i {
  display: inline-block; width: 18px; height: 18px; border-radius: 4px; margin-right: 10px;
  vertical-align: -3px;
}
.shades i { margin-right: 2px; border-radius: 3px; }
.shades i:last-of-type { margin-right: 10px; }
"""
