// Starts Chromium and writes down what its pages complain of and ask for; shared by what looks at reports and dashboards.
import { createRequire } from "node:module";

export const LOOKS = [
  ["wide-light", 1280, "light"], ["wide-dark", 1280, "dark"], ["phone-light", 390, "light"], ["phone-dark", 390, "dark"],
];

export async function start(folder, found) {
  const require = createRequire(`${folder}/`);
  const { chromium } = require("playwright-core");
  const axe = require.resolve("axe-core/axe.min.js");
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"],
  });
  const open = async (settings = {}) => {
    const page = await (await browser.newContext(settings)).newPage();
    page.on("console", (message) => found.console.push(message.text()));
    page.on("pageerror", (error) => found.console.push(String(error)));
    page.on("request", (request) => found.requests.push(request.url().slice(0, 60)));
    return page;
  };
  const judge = async (page, view) => {  // with axe, for which the page's own policy must be bypassed
    view.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    view.injected = await page.evaluate(() => globalThis.injected ?? document.querySelector("img, b, iframe")?.outerHTML ?? null);
    await page.addScriptTag({ path: axe });
    const judged = await page.evaluate(() => globalThis.axe.run());
    view.violations = judged.violations.map((each) => `${each.id}: ${each.nodes[0].html.slice(0, 160)}`);
    view.judged = judged.passes.length;
  };
  return { browser, open, judge };
}
