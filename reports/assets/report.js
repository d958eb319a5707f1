"use strict";
// Theme, charts, tables and updates of a report's pages. No network, nothing else than this file and Plotly.
(() => {
  const root = document.documentElement;
  const stored = (name, value) => {
    try { return value === undefined ? localStorage.getItem(name) : localStorage.setItem(name, value); } catch { return null; }
  };

  // Theme: the system's, or the reader's choice.
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const choose = (theme) => {
    if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
    for (const chart of drawn) restyle(chart);
    const button = document.getElementById("theme");
    if (button) button.textContent = dark() ? "Light" : "Dark";
  };

  // Charts: drawn when they come into view, the others when the browser has time, and all before printing.
  const drawn = new Set();
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const onDark = { "#0b63ce": "#6fb0ff", "#0072b2": "#5ab4f0", "#7a5195": "#b48fd0", "#7f6a3f": "#c2a76b", "#8a94a3": "#8d98a8", "#c3c9d2": "#5a6472",
    "#009e73": "#2fc79b", "#d55e00": "#ff8a3d", "#eef3fa": "#1b212a", "#dbe8f8": "#24344a", "#b5569a": "#dd86c4", "#3a9bd1": "#6cc1ee" };
  const coloured = (text) => dark() ? text.replace(/#[0-9a-f]{6}/g, (c) => onDark[c] || c) : text;
  const axis = () => ({ gridcolor: css("--grid"), zerolinecolor: css("--grid"), linecolor: css("--line"), automargin: true });
  const figure = (chart) => {
    const given = JSON.parse(coloured(chart.querySelector("script").textContent));
    const layout = {
      margin: { l: 56, r: 12, t: 12, b: 48 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      font: { family: "system-ui, sans-serif", size: 13, color: css("--ink") }, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: 12 } },
      hoverlabel: { bgcolor: css("--panel"), bordercolor: css("--line"), font: { color: css("--ink") }, align: "left" }, ...given.layout,
    };
    for (const name of ["xaxis", "yaxis"]) layout[name] = { ...axis(), ...layout[name] };
    return [given.data, layout];
  };
  const draw = (chart) => {
    if (drawn.has(chart) || !window.Plotly) return;
    drawn.add(chart);
    const place = chart.querySelector(".plot");
    place.replaceChildren();
    Plotly.newPlot(place, ...figure(chart), { responsive: true, displaylogo: false, displayModeBar: false });
    if (root.dataset.trials) {
      place.on("plotly_click", ({ points: [point] }) => {
        const page = Number.isInteger(point.customdata) && document.querySelector(`#trials a[data-trial="${point.customdata}"]`);
        if (page) location.href = page.href;
      });
    }
  };
  const restyle = (chart) => Plotly.react(chart.querySelector(".plot"), ...figure(chart));

  // Tables: a click on a heading sorts, words in the field above filter.
  const number = (text) => {
    const found = text.replace(/[,\s]/g, "").match(/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/i);
    return found ? parseFloat(found[0]) : null;
  };
  const key = (row, column) => {
    const text = row.cells[column].textContent.trim(), value = number(text);
    return { text, value, missing: text === "" || text === "–" };
  };
  const compare = (a, b) => {
    if (a.value !== null && b.value !== null) return a.value - b.value;
    return a.text.localeCompare(b.text, undefined, { numeric: true });
  };
  const sort = (table, heading) => {
    const up = heading.getAttribute("aria-sort") !== "ascending", column = heading.cellIndex, body = table.tBodies[0];
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...body.rows].map((row) => [key(row, column), row]);
    rows.sort(([a], [b]) => a.missing - b.missing || (a.missing ? 0 : (up ? 1 : -1) * compare(a, b)));
    body.append(...rows.map(([, row]) => row));
  };
  const sortable = (table) => {
    for (const heading of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(table, heading));
      heading.append(button);
    }
  };
  const filterable = (table) => {
    const tools = document.createElement("div"), field = document.createElement("input"), count = document.createElement("span");
    tools.className = "tools";
    field.type = "search";
    field.placeholder = "filter rows";
    field.setAttribute("aria-label", `Filter rows: ${table.caption ? table.caption.textContent : "table"}`);
    count.setAttribute("role", "status");
    const rows = [...table.tBodies[0].rows], texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) shown += !(row.hidden = !words.every((word) => texts.get(row).includes(word)));
      count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
    });
    tools.append(field, count);
    table.parentElement.before(tools);
  };

  const copyable = (pre) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(pre.textContent); button.textContent = "Copied"; } catch { getSelection().selectAllChildren(pre); }
    });
    const box = document.createElement("div");
    box.className = "paste-box";
    pre.before(box);
    box.append(pre, button);
  };

  // A page of a running study looks at its folder every few seconds, and loads itself again when it was written anew.
  window.reportWritten = (mark) => { if (mark !== root.dataset.written) location.reload(); };
  const watch = () => {
    const script = document.createElement("script");
    script.src = `written.js?${Date.now()}`;
    script.onload = script.onerror = () => script.remove();
    document.head.append(script);
  };

  const theme = stored("snrlab-theme");
  if (theme) root.dataset.theme = theme;
  addEventListener("DOMContentLoaded", () => {
    choose(root.dataset.theme);
    document.getElementById("theme")?.addEventListener("click", () => {
      const wanted = dark() ? "light" : "dark";
      stored("snrlab-theme", wanted);
      choose(wanted);
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => choose(root.dataset.theme));
    for (const table of document.querySelectorAll(".scroll > table")) {
      if (table.tHead && table.tBodies[0].rows.length > 1) sortable(table);
      if (table.tHead && table.tBodies[0].rows.length > (table.dataset.filter ? 0 : 8)) filterable(table);
    }
    for (const pre of document.querySelectorAll("pre.paste")) copyable(pre);
    const charts = [...document.querySelectorAll(".chart")];
    const seen = new IntersectionObserver((entries) => entries.forEach((e) => e.isIntersecting && draw(e.target)), { rootMargin: "200px" });
    charts.forEach((chart) => seen.observe(chart));
    const later = () => {
      const next = charts.find((chart) => !drawn.has(chart) && chart.offsetParent);
      if (next) { draw(next); setTimeout(later, 30); }
    };
    setTimeout(later, 400);
    addEventListener("beforeprint", () => { document.querySelectorAll("details").forEach((d) => { d.open = true; }); charts.forEach(draw); });
    if (root.dataset.written) setInterval(watch, 5000);
  });
})();
