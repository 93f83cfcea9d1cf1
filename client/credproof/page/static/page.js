// The page: what is shown when, and what each button does.

import * as keep from "./keep.js";
import { set } from "./notice.js";
import * as passkey from "./passkey.js";
import { Problem, post, settings as load } from "./service.js";
import * as words from "./words.js";

const at = (id) => document.getElementById(id);
const MARK = "#request=";
const FILE_BYTES_MAX = 131_072;

let settings = null;
let request = null; // the open request, and what the server found in it
let finished = null; // the consent just given

// -- showing

function show() {
  words.apply();
  at("language").textContent = words.say("other_language");
  at("language").lang = words.other();
  at("service").textContent = settings ? settings.domain : "";
  const [key, pass] = [keep.read("key"), keep.read("pass")];
  const ready = Boolean(key && pass);
  const waits = !ready && keep.readRequest() !== null;
  const visible = {
    request: request !== null,
    waiting: waits,
    after: finished !== null,
    open: ready && request === null && finished === null,
    key: !key,
    prove: Boolean(key) && !pass,
    "pass-section": Boolean(key) && !pass,
    consents: ready,
    kept: Boolean(key),
  };
  for (const [id, shown] of Object.entries(visible)) at(id).hidden = !shown;
  if (request) showRequest();
  if (finished) showReturn();
  showConsents();
}

function showRequest() {
  const shown = request.notices[words.language] ? words.language : words.other();
  at("lender").textContent = request.lender.title;
  set(at("notice"), request.notices[shown]);
  at("notice").lang = shown;
}

function showReturn() {
  at("return").hidden = finished.return_to === null;
  if (finished.return_to === null) return;
  at("return").href = finished.return_to;
  at("return").textContent = words.say("return", { origin: finished.return_origin });
}

function showConsents() {
  const found = keep.read("consents") ?? [];
  at("no-consents").hidden = found.length > 0;
  at("list").replaceChildren(...found.map(row));
}

function row(item) {
  const line = document.createElement("li");
  const text = document.createElement("p");
  const until = new Date(item.expires_at * 1000).toLocaleDateString(words.language);
  const state = item.revoked ? words.say("revoked") : words.say("until", { date: until });
  text.textContent = `${item.lender} · ${state}`;
  line.append(text);
  if (!item.revoked) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words.say("revoke");
    button.ariaLabel = `${words.say("revoke")}: ${item.lender}`;
    button.addEventListener("click", () => doing(button, () => revoke(item.consent)));
    line.append(button);
  }
  return line;
}

function tell(id, text) {
  for (const other of ["problem", "done"]) at(other).hidden = other !== id;
  if (!id) return;
  at(id).textContent = text;
  at(id).focus();
}

// One thing at a time: the button waits, and what goes wrong is told.
async function doing(button, work) {
  tell(null);
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Problem)) console.error(error);
    tell("problem", words.explain(error));
  } finally {
    button.disabled = false;
  }
}

// -- enrolment

async function create() {
  keep.write("key", await passkey.create(settings));
  show();
  tell("done", words.say("key_made"));
}

function showProviders() {
  at("provider").replaceChildren(...settings.providers.map(({ id, title }) => new Option(title, id)));
}

async function prove() {
  const provider = at("provider").value;
  const draft = await post("possession/draft", { provider });
  const { proof } = await post("possession", await passkey.sign(settings, keep.read("key"), draft));
  at("proof").value = proof;
  offer(at("proof-file"), `${provider}.proof`, proof);
  at("proof-made").hidden = false;
  tell("done", words.say("proof_made"));
}

async function keepPass(text) {
  const found = text.trim();
  const { sub, domain } = parsed(found) ?? {};
  if (typeof sub !== "string") throw new Problem("BAD_PASS");
  if (domain !== settings.domain) throw new Problem("WRONG_SERVICE");
  keep.write("pass", found);
  show();
  tell("done", words.say("pass_kept"));
  await openKept();
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// -- a request

async function openText(text) {
  const given = text.trim();
  const token = given.includes(MARK) ? given.slice(given.indexOf(MARK) + MARK.length) : given;
  if (!token) throw new Problem("NOT_A_LINK");
  keep.writeRequest(token);
  finished = null;
  await openKept();
}

async function openKept() {
  const token = keep.readRequest();
  const pass = keep.read("pass");
  if (token === null || !pass) return show();
  try {
    request = { token, ...(await post("request", { request: token, pass })) };
  } catch (error) {
    dropRequest();
    show();
    throw error;
  }
  show();
  at("request-title").scrollIntoView();
}

function dropRequest() {
  request = null;
  keep.writeRequest(null);
}

async function agree() {
  const language = at("notice").lang;
  const asked = request;
  const about = { request: asked.token, pass: keep.read("pass"), language };
  const draft = await post("consent/draft", about);
  const signed = await passkey.sign(settings, keep.read("key"), draft);
  const { consent } = await post("consent", signed);
  const kept = { consent, lender: asked.lender.title, expires_at: asked.expires_at, revoked: false };
  keep.write("consents", [kept, ...(keep.read("consents") ?? [])]);
  finished = asked;
  offer(at("consent-file"), `${asked.lender.id}.consent`, consent);
  dropRequest();
  show();
  at("after-title").focus();
}

function decline() {
  dropRequest();
  show();
  tell("done", words.say("declined"));
}

// -- consents

async function revoke(text) {
  const consent = text.trim();
  if (!consent) throw new Problem("NOT_A_JWS");
  const draft = await post("revocation/draft", { consent });
  await post("revocation", await passkey.sign(settings, keep.read("key"), draft));
  const found = keep.read("consents") ?? [];
  keep.write("consents", found.map((i) => (i.consent === consent ? { ...i, revoked: true } : i)));
  show();
  tell("done", words.say("revoked_now"));
}

// -- files

function offer(link, name, text) {
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = name;
}

function takeFile(id, work) {
  at(id).addEventListener("change", () => doing(at(id), async () => {
    const [file] = at(id).files;
    if (!file) return;
    if (file.size > FILE_BYTES_MAX) throw new Problem("LIMIT_EXCEEDED");
    const text = await file.text();
    at(id).value = "";
    await settle();
    await work(text);
  }));
}

// -- wiring

function press(id, work) {
  at(id).addEventListener("click", () => doing(at(id), async () => {
    await settle();
    await work();
  }));
}

// What the browser must know of the service: asked for until there is an answer.
async function settle() {
  if (settings) return;
  settings = await load();
  showProviders();
  show();
}

function switchLanguage() {
  words.choose(words.other());
  tell(null);
  show();
}

function wire() {
  at("language").addEventListener("click", switchLanguage);
  press("create", create);
  press("prove-key", prove);
  press("copy-proof", () => navigator.clipboard.writeText(at("proof").value));
  press("keep-pass", () => keepPass(at("pass").value));
  press("open-link", () => openText(at("link").value));
  press("agree", agree);
  press("decline", decline);
  press("revoke-other", () => revoke(at("consent").value));
  press("again", () => { keep.forget(["pass"]); request = null; show(); });
  press("forget", () => { if (confirm(words.say("forget_sure"))) { keep.forget(); show(); } });
  takeFile("pass-file", keepPass);
  takeFile("request-file", openText);
  takeFile("other-file", revoke);
  addEventListener("hashchange", () => doing(at("open-link"), async () => {
    await settle();
    await takeLink();
  }));
}

// The request leaves the address at once, so that it does not stay in the history.
async function takeLink() {
  if (!location.hash.startsWith(MARK)) return openKept();
  const token = location.hash.slice(MARK.length);
  history.replaceState(null, "", location.pathname);
  await openText(token);
}

async function start() {
  wire();
  show();
  await doing(at("open-link"), async () => {
    await settle();
    await takeLink();
  });
}

start();
