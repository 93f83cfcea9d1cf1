// What this browser keeps: the name of the passkey, the pass, consents given. The server keeps none.

const NAMES = ["key", "pass", "consents"];

export function read(name) {
  return JSON.parse(localStorage.getItem(`credproof.${name}`));
}

export function write(name, value) {
  localStorage.setItem(`credproof.${name}`, JSON.stringify(value));
}

export function forget(names = NAMES) {
  for (const name of names) localStorage.removeItem(`credproof.${name}`);
}

// A request that was opened waits through enrolment, in this tab only.
export function readRequest() {
  return sessionStorage.getItem("credproof.request");
}

export function writeRequest(request) {
  if (request === null) sessionStorage.removeItem("credproof.request");
  else sessionStorage.setItem("credproof.request", request);
}
