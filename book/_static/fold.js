/* The parts of the contents fold: a click or Enter on a part's name opens it; that of the page is open. */
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("nav.bd-links p.caption").forEach((caption) => {
    const list = caption.nextElementSibling;
    if (!list || list.tagName !== "UL") return;
    const show = (open) => {
      list.hidden = !open;
      caption.setAttribute("aria-expanded", String(open));
    };
    caption.setAttribute("role", "button");
    caption.tabIndex = 0;
    caption.addEventListener("click", () => show(list.hidden));
    caption.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      show(list.hidden);
    });
    show(list.querySelector(".current") !== null);
  });
});
