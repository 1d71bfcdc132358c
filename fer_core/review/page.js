"use strict";
(() => {
  const task = JSON.parse(document.getElementById("export").textContent);
  const faces = task.faces, verdicts = task.verdicts;
  const byName = Object.fromEntries(verdicts.map((verdict) => [verdict.name, verdict]));
  const byKey = Object.fromEntries(verdicts.map((verdict) => [verdict.key, verdict]));
  const key = "ferflow-review-" + task.export_id;
  const at = (id) => document.getElementById(id);

  // answers: face number -> {verdict, at}; past: [face number, its previous answer] for each answer, oldest first
  const state = { place: 0, answers: {}, past: [], reviewer: "", blind: false };
  let kept = true;

  function load() {
    try {
      const found = JSON.parse(localStorage.getItem(key));
      if (found && typeof found === "object") Object.assign(state, found);
      state.place = Math.min(Math.max(0, state.place | 0), faces.length - 1);
    } catch { kept = false; }
  }

  function keep() {
    try { localStorage.setItem(key, JSON.stringify(state)); } catch { kept = false; }
  }

  function notify(text, bad) {
    at("message").textContent = text;
    at("message").className = bad ? "message bad" : "message";
    at("message").hidden = !text;
  }

  function element(tag, name, text) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function build() {
    verdicts.forEach((verdict, number) => {
      const button = element("button", "choice");
      button.type = "button";
      button.dataset.verdict = verdict.name;
      button.style.setProperty("--colour", verdict.colour);
      const track = element("span", "track");
      track.append(element("i"));
      button.append(element("kbd", "", verdict.key), element("span", "dot"), element("span", "name", verdict.spoken), track, element("span", "share"));
      button.addEventListener("click", () => answer(verdict.name));
      const row = element("li", number === 8 ? "rest" : "");
      row.append(button);
      at("choices").append(row);
    });
    faces.forEach((face, number) => {
      const button = element("button");
      button.type = "button";
      button.title = "face " + (number + 1);
      const picture = element("img");
      picture.src = face.picture;
      picture.alt = "face " + (number + 1);
      picture.loading = "lazy";
      button.append(picture);
      button.addEventListener("click", () => go(number));
      at("strip").append(button);
    });
    at("picture").addEventListener("load", () => {
      at("figure").style.setProperty("--ratio", at("picture").naturalWidth / at("picture").naturalHeight);
    });
    at("bar").append(element("i"));
    at("note").textContent = task.note || "";
    at("note").hidden = !task.note;
    at("holds").textContent = faces.length === 1 ? "one face" : faces.length + " faces";
    at("reviewer").value = state.reviewer;
    at("reviewer").addEventListener("input", (event) => { state.reviewer = event.target.value; keep(); });
    at("back").addEventListener("click", () => go(state.place - 1));
    at("next").addEventListener("click", () => go(state.place + 1));
    at("undo").addEventListener("click", undo);
    at("agree").addEventListener("click", agree);
    at("hide").addEventListener("click", hide);
    at("save").addEventListener("click", save);
    document.addEventListener("keydown", pressed);
  }

  function draw() {
    const face = faces[state.place], given = state.answers[state.place], done = Object.keys(state.answers).length;
    at("picture").src = face.picture;
    const frame = at("frame");
    frame.hidden = !face.frame;
    if (face.frame) ["left", "top", "width", "height"].forEach((side, axis) => { frame.style[side] = 100 * face.frame[axis] + "%"; });
    at("why").textContent = "Selected because: " + face.reasons.join("; ") + ".";
    document.body.classList.toggle("blind", state.blind);
    at("hide-text").textContent = state.blind ? "show the prediction" : "hide the prediction";
    document.querySelectorAll(".choice").forEach((button, number) => {
      const share = face.probabilities[number];
      button.setAttribute("aria-pressed", String(Boolean(given) && given.verdict === button.dataset.verdict));
      button.classList.toggle("labelled", button.dataset.verdict === face.expression);
      button.querySelector(".track").style.visibility = share === undefined ? "hidden" : "";
      button.querySelector(".track i").style.setProperty("--share", share || 0);
      button.querySelector(".share").textContent = share === undefined ? "" : Math.round(100 * share) + " %";
    });
    [...at("strip").children].forEach((button, number) => {
      const choice = state.answers[number];
      button.className = (choice ? "answered" : "") + (number === state.place ? " here" : "");
      if (choice) button.style.setProperty("--colour", byName[choice.verdict].colour);
    });
    const changed = Object.entries(state.answers).filter(([number, choice]) => choice.verdict !== faces[number].expression).length;
    at("place").textContent = state.place + 1 + " of " + faces.length;
    at("tally").textContent = done + " answered, " + changed + " corrected";
    at("bar").firstChild.style.setProperty("--share", done / faces.length);
    at("bar").setAttribute("aria-valuenow", done);
    at("bar").setAttribute("aria-valuemax", faces.length);
    document.documentElement.dataset.answered = done;
  }

  function go(place) {
    state.place = Math.min(Math.max(0, place), faces.length - 1);
    notify("");
    keep();
    draw();
  }

  function answer(verdict) {
    const place = state.place;
    state.past.push([place, state.answers[place] || null]);
    state.answers[place] = { verdict: verdict, at: new Date().toISOString() };
    const last = place + 1 === faces.length;
    go(place + 1);
    if (Object.keys(state.answers).length === faces.length) notify("Every face has an answer: save with s.");
    else if (last) notify("This was the last face. Some earlier faces have no answer yet.");
    if (!kept) notify("This browser does not store your answers: save before you close the page.", true);
  }

  function agree() { answer(faces[state.place].expression); }

  function undo() {
    const last = state.past.pop();
    if (!last) return notify("There is nothing to undo.", true);
    if (last[1]) state.answers[last[0]] = last[1];
    else delete state.answers[last[0]];
    go(last[0]);
  }

  function hide() {
    state.blind = !state.blind;
    keep();
    draw();
  }

  function corrections() {
    return Object.keys(state.answers).map(Number).sort((a, b) => a - b).map((number) => {
      const face = faces[number], choice = state.answers[number];
      return {
        image_sha256: face.image_sha256, image_uri: face.image_uri, box: face.box, verdict: choice.verdict,
        previous_expression: face.expression, previous_model: face.model_digest, reviewed_at: choice.at,
      };
    });
  }

  function save() {
    const given = corrections();
    if (!given.length) return notify("There is nothing to save yet.", true);
    if (!state.reviewer.trim()) {
      at("reviewer").focus();
      return notify("The reviewer's name is missing. Enter it in the field above, then press Tab and s.", true);
    }
    const file = {
      format: task.format, version: task.version, export_id: task.export_id, reviewer: state.reviewer.trim(),
      saved_at: new Date().toISOString(), asked: faces.length, corrections: given,
    };
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1) + "\n"], { type: "application/json" }));
    link.download = "corrections-" + task.export_id + ".json";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    notify("Saved " + given.length + " answers as " + link.download + ". Import them with `" + (task.command || "ferflow review import") + "`.");
  }

  function pressed(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target === at("reviewer")) {
      if (event.key === "Enter" || event.key === "Escape") at("reviewer").blur();
      return;
    }
    if (event.key === "Enter" && event.target.tagName === "BUTTON") return;
    const act = {
      ArrowLeft: () => go(state.place - 1), ArrowRight: () => go(state.place + 1), Enter: agree, u: undo, U: undo, s: save, S: save, g: hide, G: hide,
    }[event.key] || (byKey[event.key] && (() => answer(byKey[event.key].name)));
    if (act) {
      event.preventDefault();
      act();
    }
  }

  load();
  build();
  draw();
})();
