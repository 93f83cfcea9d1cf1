// The texts of the page, in the language that the person reads.

import * as keep from "./keep.js";

const texts = await (await fetch("/texts.json")).json();

export let language = keep.read("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");

export function other() {
  return language === "zh" ? "en" : "zh";
}

export function choose(name) {
  language = name;
  keep.write("language", name);
}

export function say(name, places = {}) {
  let text = texts[language].page[name];
  for (const [place, value] of Object.entries(places)) text = text.replace(`$${place}`, () => value);
  return text;
}

// What went wrong and what to do; a reason without a text of its own is named.
export function explain(problem) {
  const { reasons } = texts[language];
  const known = reasons[problem.reason];
  if (known) return known;
  return `${reasons.OTHER} (${problem.reason ?? "FAULT"}) ${problem.message}`.trim();
}

export function apply() {
  document.documentElement.lang = language;
  document.title = say("title");
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = say(element.dataset.text);
  }
}
