"use strict";
const filters = document.querySelector(".filters");
const dialog = document.querySelector("dialog");
if (filters) {
  const pairs = [...document.querySelectorAll(".pair")];
  const has = (value, list) => value === "" || list.split(" ").includes(value);
  const choose = () => {
    const { class: label, error, boxes } = filters.elements;
    for (const pair of pairs) {
      pair.hidden = !has(label.value, pair.dataset.classes) || !has(error.value, pair.dataset.errors);
    }
    document.body.classList.toggle("without-boxes", !boxes.checked);
    const shown = pairs.filter((pair) => !pair.hidden).length;
    filters.querySelector("output").textContent = `${shown} of ${pairs.length} images`;
  };
  filters.addEventListener("change", choose);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.hidden = false;
  choose();
}
for (const button of document.querySelectorAll(".open")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const pictures = button.parentElement.querySelector("div").cloneNode(true);
    for (const image of pictures.querySelectorAll("[id]")) image.removeAttribute("id");
    dialog.querySelector("p").textContent = button.parentElement.querySelector("figcaption").textContent;
    dialog.querySelector("div").replaceChildren(...pictures.children);
    dialog.showModal();
  });
}
