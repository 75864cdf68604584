"""Style sheet of the report."""

STYLE = """
body { margin: 0 auto; max-width: 1120px; padding: 24px; background: #f5f6f8; color: #171a21;
  font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 8px; line-height: 1.2; }
h2 { margin: 0; font-size: 1.25rem; }
h3 { margin: 16px 0 0; font-size: .95rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; margin: 10px 0 0; }
dt { color: #555e6d; }
dd { margin: 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; font-size: .8rem; }
p { max-width: 74ch; margin: 8px 0; color: #555e6d; }
section { margin: 20px 0; padding: 20px; background: #fff; border-radius: 10px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; }
.tiles div { flex: 1 1 150px; padding: 12px 16px; background: #fff; border-left: 6px solid; }
.tiles b { display: block; font-size: 1.8rem; line-height: 1.2; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; text-align: right; border-bottom: 1px solid #e4e7ec; }
th:first-child { text-align: left; font-weight: 500; }
.best { font-weight: 700; background: #fff3e8; }
.grid { display: grid; gap: 8px; margin: 10px 0; font-size: .8rem; }
.grid strong { align-self: end; overflow-wrap: anywhere; }
figure { margin: 0; }
img { display: block; width: 100%; }
figcaption { text-align: right; color: #555e6d; }
.legend { display: grid; grid-template-columns: repeat(auto-fill, minmax(160px, 1fr));
  list-style: none; padding: 0; margin: 10px 0 0; font-size: .9rem; }
.legend i { display: inline-block; width: 16px; height: 16px; margin-right: 2px; vertical-align: -3px; }
"""
