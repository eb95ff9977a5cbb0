// Sorting and filtering of tables, and the choice of a theme. Without this script every table reads as it stands.
"use strict";
(function () {
  const PAGE = 50; // rows shown at once of a table that is longer than ALL
  const ALL = 120;

  function make(tag, attributes, ...inside) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    element.append(...inside); // text, never markup
    return element;
  }

  // Theme -----------------------------------------------------------------------------------------------------------

  function theme() {
    const chosen = document.documentElement.dataset.theme;
    return chosen || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  }

  const button = document.querySelector("button.theme");
  if (button) {
    const says = () => {
      button.querySelector(".theme-name").textContent = theme() === "dark" ? "Light theme" : "Dark theme";
    };
    button.hidden = false;
    says();
    button.addEventListener("click", () => {
      const next = theme() === "dark" ? "light" : "dark";
      document.documentElement.dataset.theme = next;
      try {
        localStorage.setItem("pocketzoo-theme", next);
      } catch (refused) {
        // Kept for this page only.
      }
      says();
      document.dispatchEvent(new CustomEvent("pocketzoo-theme"));
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      says();
      document.dispatchEvent(new CustomEvent("pocketzoo-theme"));
    });
  }

  // Tables ----------------------------------------------------------------------------------------------------------

  const empty = (value) => value === "" || value === null || value === undefined;

  // Whatever the direction, a cell without a value stands last: it is neither the best nor the worst.
  function ordered(compare) {
    return {
      asc: (a, b) => (empty(a) ? (empty(b) ? 0 : 1) : empty(b) ? -1 : compare(a, b)),
      desc: (a, b) => (empty(a) ? (empty(b) ? 0 : 1) : empty(b) ? -1 : compare(b, a)),
    };
  }

  function types() {
    const collator = new Intl.Collator("en", { numeric: true });
    for (const [name, compare] of [
      ["pz-number", (a, b) => a - b],
      ["pz-text", (a, b) => collator.compare(a, b)],
    ]) {
      const both = ordered(compare);
      DataTable.ext.type.order[name + "-asc"] = both.asc;
      DataTable.ext.type.order[name + "-desc"] = both.desc;
      DataTable.ext.type.order[name + "-pre"] =
        name === "pz-number" ? (v) => (empty(v) ? "" : Number(v)) : (v) => (empty(v) ? "" : String(v));
    }
  }

  // Words of a cell for searching and for the lists of filters; never written into the page as markup. A parser would
  // take seconds for tens of thousands of cells, and the markup is what grid.py writes and no other.
  const CHARACTERS = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&#34;": '"', "&quot;": '"', "&#39;": "'", "&nbsp;": " " };
  function everything(html) {
    return html.replace(/<[^>]*>/g, "").replace(/&(?:amp|lt|gt|quot|nbsp|#34|#39);/g, (found) => CHARACTERS[found]);
  }

  function words(html) {
    const extra = html.search(/<span class="mark|<small class="remark/);
    return everything(extra < 0 ? html : html.slice(0, extra)).trim();
  }

  // The rows as the page has them, in the shape of those that a script brings: [markup, what to sort by].
  function standing(table) {
    return [...table.tBodies[0].rows].map((row) =>
      [...row.cells].map((cell) => [cell.innerHTML, cell.hasAttribute("data-order") ? cell.dataset.order : null]),
    );
  }

  function start(sheet, rows) {
    const table = sheet.querySelector("table");
    const heads = [...table.tHead.rows[0].cells];
    const plain = rows.map((row) => row.map(([html]) => words(html)));
    const search = rows.map((row) => row.map(([html]) => everything(html)).join(" "));
    const columns = heads.map((head, place) => ({
      type: head.hasAttribute("data-numeric") ? "pz-number" : "pz-text",
      className: head.classList.contains("right") ? "right" : "",
      render: (_, kind, __, meta) => {
        const [html, order] = rows[meta.row][place];
        if (kind === "display") return html;
        if (kind === "filter") return place === 0 ? search[meta.row] : "";
        return order === null ? plain[meta.row][place] : order;
      },
    }));
    table.tBodies[0].replaceChildren();
    const paged = rows.length > ALL;
    const grid = new DataTable(table, {
      data: rows.map((_, number) => [number]),
      columns: columns.map((column) => ({ ...column, data: 0 })),
      order: [],
      autoWidth: false,
      deferRender: true,
      paging: paged,
      pageLength: PAGE,
      layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: paged ? "paging" : null },
      language: { emptyTable: "Nothing yet.", zeroRecords: "No row fits. Take a filter away." },
    });
    tools(sheet, grid, heads, rows, plain);
  }

  function tools(sheet, grid, heads, rows, plain) {
    const bar = sheet.querySelector(".tools");
    const caption = sheet.querySelector("caption").textContent;
    const tests = new Map();
    const shown = make("p", { class: "shown", role: "status" });

    const search = make("input", { type: "search", "aria-label": `Search in ${caption}` });
    search.addEventListener("input", () => grid.search(search.value).draw());
    bar.replaceChildren(make("label", {}, "Search", search));

    heads.forEach((head, place) => {
      const kind = head.dataset.filter;
      const title = head.textContent.trim();
      const change = (test) => {
        if (test) tests.set(place, test);
        else tests.delete(place);
        grid.draw();
      };
      if (kind === "choice") {
        const values = [...new Set(plain.map((row) => row[place]))].filter((value) => value !== "");
        if (values.length < 2 || values.length > 400) return;
        values.sort(new Intl.Collator("en", { numeric: true }).compare);
        const select = make("select", {}, make("option", { value: "" }, "all"));
        values.forEach((value, number) => select.append(make("option", { value: String(number + 1) }, value)));
        select.addEventListener("change", () => {
          const wanted = values[Number(select.value) - 1];
          change(select.value && ((row) => plain[row][place] === wanted));
        });
        bar.append(make("label", {}, title, select));
      } else if (kind === "least" || kind === "most") {
        const input = make("input", { type: "number", step: "any", inputmode: "decimal" });
        input.addEventListener("input", () => {
          const limit = input.valueAsNumber;
          change(
            Number.isFinite(limit) &&
              ((row) => {
                const order = rows[row][place][1];
                // A row without this number cannot be said to keep the limit.
                return !empty(order) && (kind === "least" ? Number(order) >= limit : Number(order) <= limit);
              }),
          );
        });
        bar.append(make("label", {}, `${title}, ${kind === "least" ? "at least" : "at most"}`, input));
      }
    });

    const clear = make("button", { type: "button", hidden: "" }, "Clear filters");
    clear.addEventListener("click", () => {
      tests.clear();
      for (const field of bar.querySelectorAll("input, select")) field.value = "";
      grid.search("").draw();
      search.focus();
    });
    bar.append(clear, shown);
    grid.search.fixed("pocketzoo", (_, __, row) => [...tests.values()].every((test) => test(row)));

    const tell = () => {
      const count = grid.page.info().recordsDisplay;
      shown.textContent =
        count === rows.length
          ? `${rows.length.toLocaleString("en")} rows`
          : `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
      clear.hidden = !tests.size && !search.value;
    };
    grid.on("draw", tell);
    tell();
    bar.hidden = rows.length < 2;
    sheet.dataset.ready = "";
  }

  // A long table: its rows come as a script, once a reader asks for them.
  function later(sheet) {
    const bar = sheet.querySelector(".tools");
    const ask = make("button", { type: "button" }, `Sort and filter all ${Number(sheet.dataset.rows).toLocaleString("en")} rows`);
    const says = make("p", { class: "shown", role: "status" });
    bar.append(ask, says);
    bar.hidden = false;
    ask.addEventListener("click", () => {
      ask.disabled = true;
      says.textContent = "Loading…";
      const rows = [];
      const wanted = sheet.dataset.all.split(" ");
      const next = () => {
        if (!wanted.length) {
          const pages = sheet.querySelector(".pages");
          if (pages) pages.hidden = true;
          start(sheet, rows);
          bar.querySelector("input").focus();
          return;
        }
        window.pocketzooRows = (_, more) => rows.push(...more);
        const script = make("script", { src: wanted.shift() });
        script.addEventListener("load", next);
        script.addEventListener("error", () => {
          says.textContent = "The rows could not be loaded; the pages of the table have them.";
        });
        document.head.append(script);
      };
      next();
    });
  }

  if (window.DataTable) {
    types();
    for (const sheet of document.querySelectorAll(".sheet")) {
      if (sheet.querySelector("tr.none")) continue;
      if (sheet.dataset.all) later(sheet);
      else start(sheet, standing(sheet.querySelector("table")));
    }
  }
})();
