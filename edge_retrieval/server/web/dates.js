// Filters by date: two fields, and the years as bars.

import { h, refill } from "./dom.js";
import { changeFilters, state } from "./state.js";

const DATE = /^\d{4}(-\d{2}(-\d{2})?)?$/;

/** The bars. */
export const years = h("div", { class: "years", role: "group", "aria-label": "Designs by year" });

/** A field for a day, a month or a year; `told` says what it does. */
export function dateField(label, name, told) {
  const id = `date-${name}`;
  const input = h("input", {
    id,
    type: "text",
    inputmode: "numeric",
    placeholder: "YYYY-MM-DD",
    maxlength: 10,
    autocomplete: "off",
    "aria-describedby": `${id}-told`,
  });
  input.addEventListener("change", () => {
    const text = input.value.trim();
    const wrong = text !== "" && !DATE.test(text);
    input.setAttribute("aria-invalid", String(wrong));
    hint.textContent = wrong ? "As 2021, 2021-03 or 2021-03-04" : told;
    if (!wrong) changeFilters({ [name]: text || null });
  });
  const hint = h("span", { class: "soft", id: `${id}-told` }, told);
  return {
    element: h("div", { class: "field" }, h("label", { for: id }, label), input, hint),
    show(value) {
      if (input !== document.activeElement || value) input.value = value ?? "";
    },
  };
}

/** Show how many designs are of each year; a year that is pressed is the last one. */
export function showYears(told) {
  const most = Math.max(1, ...told.map(({ count }) => count));
  const all = told.length > 1 ? everyYear(told) : [];
  years.hidden = !all.length;
  refill(
    years,
    all.map(({ year, count }) => {
      const { before: end, after: start } = state.filters;
      const inside = (!end || String(year) < end) && (!start || String(year) >= start.slice(0, 4));
      const bar = h("span", { class: (end || start) && inside ? "inside" : "" });
      bar.style.height = `${count ? Math.max(8, (100 * count) / most) : 0}%`;
      return h(
        "button",
        {
          type: "button",
          "data-key": year,
          "aria-label": `Only designs before ${Number(year) + 1}: ${count} are of ${year}`,
          title: `${year}: ${count}. Click: before ${Number(year) + 1}`,
          onclick: () => changeFilters({ before: String(Number(year) + 1) }),
        },
        bar,
      );
    }),
    all.length > 0 &&
      h(
        "span",
        { class: "soft ends" },
        h("span", {}, String(all[0].year)),
        h("span", {}, String(all.at(-1).year)),
      ),
  );
}

// Years without a design stand between the others, so that the bars are a scale of time.
function everyYear(told) {
  const counts = new Map(told.map(({ year, count }) => [year, count]));
  const [first, last] = [told[0].year, told.at(-1).year];
  return Array.from({ length: last - first + 1 }, (_, i) => ({
    year: first + i,
    count: counts.get(first + i) ?? 0,
  }));
}
