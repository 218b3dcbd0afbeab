"use strict";
const state = document.getElementById("state"), seconds = document.getElementById("seconds");
const began = performance.now();
const clock = setInterval(() => {
  seconds.textContent = `${Math.round((performance.now() - began) / 1000)} s`;
}, 1000);
// MLflow's chat panel would open by itself at the first visit
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
fetch(state.dataset.health, { credentials: "same-origin", cache: "no-store" })
  .then((answer) => {
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    location.replace(state.dataset.page);
  })
  .catch((error) => {
    clearInterval(clock);
    document.querySelector("h1").textContent = document.title = "MLflow did not start";
    state.textContent = `${error.message}. Where ai4diag lab runs, its messages say why. Reload this page to try again.`;
    seconds.textContent = "";
  });
