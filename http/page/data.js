// What the service says of itself: {channel, public, accounts, signUp, topics}.

export const data = JSON.parse(document.getElementById('data').textContent);
