// Runs before the page is painted, so that a chosen theme does not flash in the other one first.
"use strict";
(function () {
  document.documentElement.classList.add("js");
  try {
    const chosen = localStorage.getItem("pocketzoo-theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch (refused) {
    // A browser may refuse storage to pages from disk; the system's theme is then followed.
  }
})();
