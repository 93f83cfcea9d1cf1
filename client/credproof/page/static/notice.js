// The notice is shown to the letter. It is written in columns, for any screen; here its lines are set
// so that they read well on a narrow one. Nothing is left out or added: not even a space.

const LABEL = /^(\S[^:：]{0,40}[:：])( {2,}.*)$/s;
const CONTINUED = 8; // so many spaces before it make a line go on from the one above

export function set(element, text) {
  const lines = text.split(/(?<=\n)/);
  const blocks = [];
  for (const line of lines) {
    const indent = line.length - line.trimStart().length;
    if (line.trim() && indent >= CONTINUED && blocks.length) blocks.at(-1).append(line);
    else blocks.push(block(line, indent));
  }
  element.replaceChildren(...blocks);
}

function block(line, indent) {
  const made = document.createElement("p");
  if (!line.trim()) made.className = "gap";
  else made.className = `indent-${Math.min(2, Math.floor(indent / 2))}`;
  const [, label, rest] = LABEL.exec(line) ?? [];
  if (label) {
    const strong = document.createElement("strong");
    strong.textContent = label;
    made.className = "labelled";
    made.append(strong, rest);
  } else made.append(line);
  return made;
}
