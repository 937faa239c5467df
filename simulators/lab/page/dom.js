/* Small helpers around the document. */

/* An element with properties and children; texts are never read as HTML. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "dataset") Object.assign(element.dataset, value);
    else if (name.startsWith("aria-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/* Keeps calls at least `gap_ms` apart and never loses the last one. */
export function calm(work, gap_ms) {
  let isBusy = false;
  let isWanted = false;
  return async function ask() {
    if (isBusy) {
      isWanted = true;
      return;
    }
    isBusy = true;
    try {
      await work();
    } finally {
      setTimeout(() => {
        isBusy = false;
        if (isWanted) {
          isWanted = false;
          ask();
        }
      }, gap_ms);
    }
  };
}

const NOTICE_MS = 6_000;
let hiding = 0;

/* Say something at the bottom of the page for a while. */
export function notice(said, isBad = false) {
  const place = document.getElementById("notice");
  place.textContent = said;
  place.classList.toggle("bad", isBad);
  place.hidePopover();
  place.showPopover(); /* above a dialog that is open */
  clearTimeout(hiding);
  hiding = setTimeout(() => place.hidePopover(), NOTICE_MS);
}
