// The plots of a page, by Chart.js. Series differ in shape and in stroke, so that colour is never all there is.
"use strict";
(function () {
  if (!window.Chart) return;
  const SHAPES = ["circle", "rect", "triangle", "rectRot", "star", "cross", "crossRot", "rectRounded"];
  const STROKES = [[], [7, 4], [2, 3], [9, 3, 2, 3]];
  const drawn = [];

  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const series = (number) => colour(`c${number % 8}`);
  const ms = (value) => (value >= 9.9995 ? value.toFixed(2) : value >= 0.1 ? value.toFixed(3) : value.toPrecision(3));
  const faint = (hex) => hex + "33";

  // Whiskers: the ends of a 95% interval, along x or y.
  const whiskers = {
    id: "whiskers",
    afterDatasetsDraw(chart) {
      const { ctx, scales } = chart;
      const { chartArea: area } = chart;
      ctx.save();
      ctx.beginPath();
      ctx.rect(area.left, area.top, area.width, area.height);
      ctx.clip();
      ctx.lineWidth = 1.2;
      chart.data.datasets.forEach((set, number) => {
        if (!set.raw || !chart.isDatasetVisible(number)) return;
        ctx.strokeStyle = set.whisker || colour("soft");
        chart.getDatasetMeta(number).data.forEach((element, place) => {
          const point = set.raw[place];
          if (!point) return;
          for (const [ends, scale, across] of [
            [point.xEnds, scales.x, false],
            [point.yEnds, scales.y, true],
          ]) {
            if (!ends) continue;
            const [from, to] = ends.map((value) => scale.getPixelForValue(value));
            const at = across ? element.x : element.y;
            ctx.beginPath();
            if (across) {
              ctx.moveTo(at, from); ctx.lineTo(at, to);
              for (const end of [from, to]) { ctx.moveTo(at - 3, end); ctx.lineTo(at + 3, end); }
            } else {
              ctx.moveTo(from, at); ctx.lineTo(to, at);
              for (const end of [from, to]) { ctx.moveTo(end, at - 3); ctx.lineTo(end, at + 3); }
            }
            ctx.stroke();
          }
        });
      });
      ctx.restore();
    },
  };

  // Names beside points, as long as they cover nothing; the others have their tooltip.
  const names = {
    id: "names",
    afterDatasetsDraw(chart) {
      if (!chart.options.plugins.names || !chart.options.plugins.names.on) return;
      const { ctx, chartArea: area } = chart;
      const taken = [];
      const points = [];
      chart.data.datasets.forEach((set, number) => {
        if (!set.raw || !chart.isDatasetVisible(number)) return;
        chart.getDatasetMeta(number).data.forEach((element, place) => {
          if (!set.raw[place] || !set.raw[place].name) return;
          points.push([element, set.raw[place].name]);
          taken.push([element.x - 7, element.y - 7, element.x + 7, element.y + 7]);
        });
      });
      ctx.save();
      ctx.font = `12px ${getComputedStyle(document.body).fontFamily}`;
      ctx.fillStyle = colour("ink");
      ctx.textBaseline = "middle";
      for (const [element, name] of points) {
        const width = ctx.measureText(name).width;
        for (const [dx, dy] of [[10, -11], [10, 12], [-10 - width, -11], [-10 - width, 12], [12, 0]]) {
          const box = [element.x + dx, element.y + dy - 7, element.x + dx + width, element.y + dy + 7];
          const inside = box[0] >= area.left && box[2] <= area.right && box[1] >= area.top && box[3] <= area.bottom;
          if (inside && !taken.some((t) => box[0] < t[2] && t[0] < box[2] && box[1] < t[3] && t[1] < box[3])) {
            ctx.fillText(name, box[0], element.y + dy);
            taken.push(box);
            break;
          }
        }
      }
      ctx.restore();
    },
  };

  // An upright line at a value of x.
  const upright = {
    id: "upright",
    afterDatasetsDraw(chart) {
      const at = chart.options.plugins.upright && chart.options.plugins.upright.at;
      if (!at) return;
      const x = chart.scales.x.getPixelForValue(at);
      const { ctx, chartArea: area } = chart;
      ctx.save();
      ctx.strokeStyle = colour("ink");
      ctx.beginPath();
      ctx.moveTo(x, area.top);
      ctx.lineTo(x, area.bottom);
      ctx.stroke();
      ctx.restore();
    },
  };

  function scale(text, more) {
    return {
      title: { display: !!text, text, color: colour("soft") },
      grid: { color: colour("line") },
      border: { color: colour("edge") },
      ticks: { color: colour("soft") },
      ...more,
    };
  }

  function base(more, plugins) {
    return {
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      ...more,
      plugins: {
        legend: {
          position: "bottom",
          labels: { color: colour("ink"), usePointStyle: true, boxWidth: 9, boxHeight: 9, padding: 14 },
        },
        tooltip: {
          backgroundColor: colour("ink"),
          titleColor: colour("page"),
          bodyColor: colour("page"),
          padding: 10,
          cornerRadius: 8,
          displayColors: false,
        },
        ...plugins,
      },
    };
  }

  function tips(title, label) {
    const had = base({}).plugins.tooltip;
    return { ...had, callbacks: { title, label } };
  }

  const raw = (item) => (item.dataset.raw ? item.dataset.raw[item.dataIndex] : null);

  // Bars differ in hatch as well: solid, slanted, dotted, crossed.
  function fill(number, pale) {
    const ink = pale ? faint(series(number)) : series(number);
    const kind = number % 4;
    if (!kind) return ink;
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const ctx = tile.getContext("2d");
    ctx.fillStyle = ink;
    ctx.fillRect(0, 0, 8, 8);
    ctx.strokeStyle = ctx.fillStyle = pale ? series(number) : colour("card");
    ctx.lineWidth = 1.4;
    ctx.beginPath();
    if (kind === 2) {
      ctx.arc(4, 4, 1.4, 0, 7);
      ctx.fill();
    } else {
      for (const shift of [-8, 0, 8]) {
        ctx.moveTo(shift, 8); ctx.lineTo(shift + 8, 0);
        if (kind === 3) { ctx.moveTo(shift, 0); ctx.lineTo(shift + 8, 8); }
      }
      ctx.stroke();
    }
    return ctx.createPattern(tile, "repeat");
  }

  function scatter(set, number) {
    const ink = series(number);
    return {
      type: "scatter",
      label: set.name,
      data: set.points.map((p) => ({ x: p.x, y: p.y })),
      raw: set.points,
      pointStyle: SHAPES[number % SHAPES.length],
      radius: 6.5,
      hoverRadius: 9,
      borderWidth: 2,
      borderColor: ink,
      backgroundColor: set.points.map((p) => (p.hollow ? colour("card") : ink)),
    };
  }

  const kinds = {
    trade(data) {
      const sets = data.series.map(scatter);
      if (data.front.length) {
        sets.push({
          type: "line",
          label: "Pareto front (valid cells only)",
          data: data.front.map(([x, y]) => ({ x, y })),
          stepped: "before",
          borderColor: colour("ink"),
          borderWidth: 1.4,
          borderDash: [6, 4],
          pointRadius: 0,
          pointHitRadius: 0,
          pointStyle: "line",
        });
      }
      const farthest = Math.max(...data.series.flatMap((s) => s.points.map((p) => (p.xEnds ? p.xEnds[1] : p.x))));
      const few = data.series.reduce((sum, s) => sum + s.points.length, 0) <= 30;
      const ends = data.series.flatMap((s) => s.points.flatMap((p) => p.yEnds || [p.y]));
      const margin = 0.06 * (Math.max(...ends) - Math.min(...ends)) || 1;
      const share = /%/.test(data.y);
      const top = {
        suggestedMin: data.zero ? 0 : Math.max(share ? 0 : -Infinity, Math.min(...ends) - margin),
        suggestedMax: Math.min(share ? 100 : Infinity, Math.max(...ends) + 2 * margin),
      };
      return {
        data: { datasets: sets },
        options: base(
          {
            onClick: (_, hit, chart) => {
              const found = hit.length && chart.data.datasets[hit[0].datasetIndex].raw;
              const href = found && found[hit[0].index].href;
              if (href) location.href = href;
            },
            onHover: (event, hit, chart) => {
              const found = hit.length && chart.data.datasets[hit[0].datasetIndex].raw;
              event.native.target.style.cursor = found && found[hit[0].index].href ? "pointer" : "";
            },
            scales: { x: scale(data.x, { min: 0, suggestedMax: farthest * 1.15, ticks: { color: colour("soft"), callback: (v) => +v.toPrecision(3) } }), y: scale(data.y, top) },
          },
          {
            names: { on: few },
            tooltip: {
              ...tips(
                (items) => (raw(items[0]) ? raw(items[0]).name : ""),
                (item) => (raw(item) ? raw(item).says : ""),
              ),
              filter: (item) => !!raw(item),
            },
          },
        ),
      };
    },

    dots(data) {
      const sets = data.series.map(scatter);
      const narrow = innerWidth < 560;
      const label = (text) => {
        const [first, ...rest] = (text || "").split(" · ");
        return narrow && rest.length ? [first, rest.join(" ")] : text || "";
      };
      return {
        height: 90 + (narrow ? 34 : 26) * data.labels.length,
        data: { datasets: sets },
        options: base(
          {
            scales: {
              x: scale(data.x, { beginAtZero: true, grace: "8%", ticks: { color: colour("soft"), callback: (v) => `${v}×` } }),
              y: scale("", {
                reverse: true,
                min: -0.5,
                max: data.labels.length - 0.5,
                ticks: { color: colour("ink"), stepSize: 1, autoSkip: false, font: { size: narrow ? 10 : 12 }, callback: (v) => label(data.labels[v]) },
                afterBuildTicks: (axis) => {
                  axis.ticks = data.labels.map((_, value) => ({ value }));
                },
              }),
            },
          },
          { tooltip: tips((items) => raw(items[0]).name, (item) => `${item.dataset.label}: ${raw(item).says}`) },
        ),
      };
    },

    bars(data) {
      return {
        height: 110 + data.labels.length * (data.series.length * 15 + 14),
        data: {
          labels: data.labels,
          datasets: data.series.map((set, number) => ({
            type: "bar",
            label: set.name,
            data: set.values,
            raw: set.ends.map((ends) => (ends ? { xEnds: ends } : null)),
            marks: set.marks,
            borderColor: series(number),
            borderWidth: 1.5,
            whisker: colour("ink"),
            pointStyle: "rect",
            backgroundColor: set.hollow.map((hollow) => fill(number, hollow)),
            maxBarThickness: 22,
          })),
        },
        options: base(
          {
            indexAxis: "y",
            scales: {
              x: scale(data.x, { beginAtZero: true, grace: "6%" }),
              y: scale("", { grid: { display: false }, ticks: { color: colour("ink"), autoSkip: false } }),
            },
          },
          {
            tooltip: tips(
              (items) => items[0].label,
              (item) => `${item.dataset.label}: ${ms(item.parsed.x)} ms ${item.dataset.marks[item.dataIndex]}`,
            ),
          },
        ),
      };
    },

    lines(data) {
      const day = (value) => new Date(value).toISOString().replace("T", " ").slice(0, 16);
      const times = data.series.flatMap((set) => set.points.map((p) => p.x));
      const within = Math.max(...times) - Math.min(...times) < 48 * 3600 * 1000; // days would all be the same
      const tick = (value) => (within ? day(value).slice(5) : day(value).slice(0, 10));
      return {
        data: {
          datasets: data.series.map((set, number) => ({
            type: "line",
            label: set.name,
            data: set.points.map((p) => ({ x: p.x, y: p.y })),
            raw: set.points,
            borderColor: series(number),
            borderWidth: 1.8,
            borderDash: STROKES[number % STROKES.length],
            pointStyle: SHAPES[number % SHAPES.length],
            pointRadius: 5,
            pointBackgroundColor: set.points.map((p) => (p.hollow ? colour("card") : series(number))),
          })),
        },
        options: base(
          {
            scales: {
              x: scale(data.x, {
                type: "linear",
                ticks: { color: colour("soft"), maxTicksLimit: 7, maxRotation: 0, callback: (v) => (data.times ? tick(v) : v) },
              }),
              y: scale(data.y, { beginAtZero: true, grace: "8%" }),
            },
          },
          {
            tooltip: tips(
              (items) => (data.times ? day(items[0].parsed.x) : items[0].parsed.x),
              (item) => `${item.dataset.label}: ${ms(item.parsed.y)}${data.times ? " ms" : ""}${raw(item).hollow ? ", not valid" : ""}`,
            ),
          },
        ),
      };
    },

    runs() {
      const repeats = samples();
      return {
        data: {
          datasets: repeats.map((values, number) => ({
            type: "line",
            label: `Repeat ${number + 1}`,
            data: values.map((y, x) => ({ x: x + 1, y })),
            borderColor: series(number),
            borderWidth: 1.3,
            borderDash: STROKES[number % STROKES.length],
            pointRadius: 0,
            pointStyle: "line",
          })),
        },
        options: base(
          {
            parsing: false,
            normalized: true,
            interaction: { mode: "nearest", axis: "x", intersect: false },
            scales: { x: scale("Run", { type: "linear", min: 1 }), y: scale("Latency (ms)") },
          },
          {
            decimation: { enabled: true, algorithm: "min-max" },
            tooltip: tips((items) => `Run ${items[0].parsed.x}`, (item) => `${item.dataset.label}: ${ms(item.parsed.y)} ms`),
          },
        ),
      };
    },

    shares(_, box) {
      const repeats = samples();
      const pooled = repeats.flat().sort((a, b) => a - b);
      const low = pooled[0];
      const high = pooled[Math.floor(0.99 * (pooled.length - 1))];
      const margin = 0.04 * (high - low) || 0.01 * high;
      return {
        data: {
          datasets: repeats.map((values, number) => {
            const sorted = [...values].sort((a, b) => a - b);
            return {
              type: "line",
              label: `Repeat ${number + 1}`,
              data: sorted.map((x, place) => ({ x, y: (100 * (place + 1)) / sorted.length })),
              stepped: "before",
              borderColor: series(number),
              borderWidth: 1.8,
              borderDash: STROKES[number % STROKES.length],
              pointRadius: 0,
              pointStyle: "line",
            };
          }),
        },
        options: base(
          {
            parsing: false,
            interaction: { mode: "nearest", axis: "x", intersect: false },
            scales: {
              x: scale("Latency of one inference (ms), up to the 99th percentile", { type: "linear", min: low - margin, max: high + margin, ticks: { color: colour("soft"), maxTicksLimit: 8, callback: ms } }),
              y: scale("Share of runs (%)", { min: 0, max: 100 }),
            },
          },
          {
            upright: { at: Number(box.dataset.median) },
            tooltip: tips((items) => `${ms(items[0].parsed.x)} ms`, (item) => `${item.dataset.label}: ${item.parsed.y.toFixed(1)}% of runs`),
          },
        ),
      };
    },
  };

  function samples() {
    return [...document.querySelectorAll("pre.samples")].map((pre) =>
      pre.textContent.trim().split(/\s+/).map((ns) => Number(ns) / 1e6),
    );
  }

  function draw() {
    while (drawn.length) drawn.pop().destroy();
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    for (const figure of document.querySelectorAll("figure.plot")) {
      const box = figure.querySelector(".canvas");
      const data = figure.querySelector('script[type="application/json"]');
      const made = kinds[box.dataset.kind](data ? JSON.parse(data.textContent) : null, box);
      box.hidden = false;
      if (made.height) box.style.height = `${Math.min(made.height, 1600)}px`;
      drawn.push(new Chart(box.querySelector("canvas"), { ...made, plugins: [whiskers, names, upright] }));
    }
  }

  draw();
  document.addEventListener("pocketzoo-theme", draw);
})();
