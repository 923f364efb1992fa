"use strict";
// The server says when something has changed; then the main part of this page is read anew and put in place.
// One reading at a time; what changes meanwhile is read after it.
(() => {
  const lost = document.getElementById("lost");
  let reading = false;
  let again = false;

  const readAnew = async () => {
    if (reading) {
      again = true;
      return;
    }
    reading = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      const read = new DOMParser().parseFromString(await answer.text(), "text/html");
      const main = read.querySelector("main");
      if (main) {
        const { scrollX, scrollY } = window;
        const focused = document.activeElement && document.activeElement.getAttribute("href");
        const shown = document.querySelector("main");
        shown.replaceChildren(...main.childNodes);
        shown.dataset.turn = main.dataset.turn;
        document.title = read.title;
        window.scrollTo(scrollX, scrollY);
        if (focused) {
          const same = document.querySelector(`main a[href="${CSS.escape(focused)}"]`);
          if (same) same.focus({ preventScroll: true });
        }
        lost.hidden = true;
      }
    } catch (error) {
      lost.hidden = false;
    } finally {
      reading = false;
      if (again) {
        again = false;
        readAnew();
      }
    }
  };

  // The server says something every half minute; a connection that is dead may look like one on which nothing is said.
  const patience = 90000;
  let heard = Date.now();
  setInterval(() => {
    if (Date.now() - heard > patience) lost.hidden = false;
  }, 5000);

  const changes = new EventSource("/changes");
  changes.addEventListener("changed", (event) => {
    heard = Date.now();
    lost.hidden = true;
    if (event.data !== document.querySelector("main").dataset.turn) readAnew();
  });
  changes.addEventListener("beat", () => {
    heard = Date.now();
    readAnew();
  });
  changes.addEventListener("error", () => { lost.hidden = false; });
})();
