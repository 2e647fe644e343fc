package org.shardloom.kernels.collective.aeron;

import io.aeron.ExclusivePublication;
import io.aeron.Image;
import io.aeron.Publication;
import io.aeron.logbuffer.BufferClaim;
import io.aeron.logbuffer.ControlledFragmentHandler;
import io.aeron.logbuffer.ControlledFragmentHandler.Action;
import io.aeron.logbuffer.Header;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Arrays;
import org.agrona.DirectBuffer;

/**
 * The two streams between this rank and one peer. Neither sending nor receiving ever waits. Used by one thread at a time.
 *
 * <p>Bytes go from the sender's tensor to its term buffer, and from the receiver's term buffer to its tensor: one copy at each end.
 */
final class Link {
    /** Moved over one link before the next has its turn: little enough to be in the processor's cache still when it is sent on. */
    private static final int BURST_BYTES = 256 << 10;

    private static final int REASON_BYTES = 400;
    private static final String LEFT = "left the group, or it or the network died";

    private final int rank;
    private final int peer;
    private final ExclusivePublication publication;
    private final long tagOut;
    private final long tagIn;
    private final byte[] proofOut;
    private final byte[] proofIn;
    private final int maxPayload;
    private final int burstFrames;
    private final BufferClaim claim = new BufferClaim();
    private final ControlledFragmentHandler onFrame = this::onFrame;
    private Image image;
    private boolean greeted;
    private boolean authenticated;
    private Message out;
    private Message in;
    private int step;
    private int name;
    private boolean leaving;
    private boolean said;
    private boolean left;
    private long dropped;
    private String trouble;

    Link(int rank, int peer, ExclusivePublication publication, GroupKey key) {
        this.rank = rank;
        this.peer = peer;
        this.publication = publication;
        this.tagOut = key.tag(rank, peer);
        this.tagIn = key.tag(peer, rank);
        this.proofOut = key.proof(rank, peer);
        this.proofIn = key.proof(peer, rank);
        this.maxPayload = (publication.maxPayloadLength() - Frame.BYTES) & -8;
        this.burstFrames = Math.max(1, BURST_BYTES / maxPayload);
    }

    int peer() {
        return peer;
    }

    ExclusivePublication publication() {
        return publication;
    }

    /** What makes this link useless, or null. */
    String trouble() {
        return trouble;
    }

    /** Frames of this session that no member of the group made. */
    long dropped() {
        return dropped;
    }

    boolean hasImage() {
        return image != null;
    }

    /** The stream from the peer has come. */
    void attach(Image incoming) {
        image = incoming;
    }

    /** Says hello as soon as the peer listens, and reads its hello; whether both are done. */
    boolean greet() {
        if (!greeted && claim(proofOut.length, Frame.HELLO)) {
            claim.buffer().putBytes(claim.offset() + Frame.BYTES, proofOut);
            claim.commit();
            greeted = true;
        }
        if (!authenticated && image != null) {
            image.controlledPoll(onFrame, 1);
        }
        return greeted && authenticated;
    }

    /** Begins a step; a null message: none goes that way. */
    void begin(int newStep, String newName, Message outgoing, Message incoming) {
        step = newStep;
        name = newName.hashCode();
        out = outgoing;
        in = incoming;
    }

    boolean isComplete() {
        return out == null && in == null;
    }

    boolean isReceiving() {
        return in != null;
    }

    /** Hands Aeron as many frames as it takes just now; their number. */
    int send() {
        int frames = 0;
        while (out != null && frames < burstFrames) {
            int length = (int) Math.min(maxPayload, out.remaining());
            if (!claim(length, out.isNothing() ? Frame.NOTHING : Frame.DATA)) {
                break;
            }
            Frame.place(claim.buffer(), claim.offset(), step, name, out.position(), out.bytes());
            out.copyOut(claim.buffer().addressOffset() + claim.offset() + Frame.BYTES, length);
            claim.commit();
            frames++;
            if (out.remaining() == 0) {
                out = null;
            }
        }
        return frames;
    }

    /**
     * Takes what has come for this step, nothing beyond it, and looks whether the peer has given up; the number of frames.
     */
    int receive() {
        boolean over = image.isClosed() || image.isEndOfStream();
        int frames = image.controlledPoll(onFrame, burstFrames);
        if (over && frames == 0 && in != null && trouble == null) {
            trouble = LEFT;
        }
        return frames;
    }

    /** Tells the peer that this rank gives up, if there is room for it. */
    void sendAbort(String reason) {
        byte[] text = reason.getBytes(StandardCharsets.UTF_8);
        text = Arrays.copyOf(text, Math.min(text.length, REASON_BYTES));
        if (claim(text.length, Frame.ABORT)) {
            claim.buffer().putBytes(claim.offset() + Frame.BYTES, text);
            claim.commit();
        }
    }

    /** Says that nothing more will be sent, and looks whether the peer has said so; true when both are done or it is gone. */
    boolean part() {
        leaving = true;
        if (!said && claim(0, Frame.BYE)) {
            claim.commit();
            said = true;
        }
        if (!left && !image.isClosed()) {
            image.controlledPoll(onFrame, burstFrames);
        }
        return isDeserted() || said && left;
    }

    /** Whether nobody is there to take what was sent. */
    boolean isDeserted() {
        return !publication.isConnected() || image.isClosed();
    }

    private boolean claim(int payloadBytes, short kind) {
        long result = publication.tryClaim(Frame.BYTES + payloadBytes, claim);
        if (result > 0) {
            Frame.write(claim.buffer(), claim.offset(), kind, rank, tagOut);
            return true;
        }
        if (result == Publication.CLOSED) {
            trouble = "cannot be sent to any more: the link was closed";
        } else if (result == Publication.MAX_POSITION_EXCEEDED) {
            trouble = "cannot be sent to any more: the link has carried all that it can";
        }
        // Otherwise the peer does not keep up, or is not there for now: the step's time limit judges.
        return false;
    }

    private Action onFrame(DirectBuffer buffer, int at, int length, Header header) {
        if (!Frame.isFrom(buffer, at, length, peer, tagIn)) {
            dropped++;
            return Action.CONTINUE;
        }
        short kind = Frame.kind(buffer, at);
        int payload = length - Frame.BYTES;
        if (kind == Frame.HELLO) {
            byte[] proof = new byte[payload];
            buffer.getBytes(at + Frame.BYTES, proof);
            authenticated |= MessageDigest.isEqual(proof, proofIn);
        } else if (!authenticated) {
            dropped++;
        } else if (kind == Frame.ABORT) {
            trouble = "gave up: " + buffer.getStringWithoutLengthUtf8(at + Frame.BYTES, payload);
            left = true;
            return Action.BREAK;
        } else if (leaving) {
            left |= kind == Frame.BYE;
        } else if (isComplete()) {
            // The peer is ahead, or has left after all that this rank needs of it: that is for later.
            return Action.ABORT;
        } else if (kind == Frame.BYE) {
            trouble = LEFT;
            return Action.BREAK;
        } else {
            return onMessage(buffer, at, payload, kind);
        }
        return Action.CONTINUE;
    }

    private Action onMessage(DirectBuffer buffer, int at, int payload, short kind) {
        if (in == null && Frame.step(buffer, at) - step > 0) {
            return Action.ABORT;
        }
        if (in == null || Frame.step(buffer, at) != step || Frame.name(buffer, at) != name) {
            trouble = "is out of step: it sends for step " + Frame.step(buffer, at)
                    + (Frame.step(buffer, at) == step ? " of another operation" : "");
            return Action.BREAK;
        }
        if (kind == Frame.NOTHING) {
            in.becomeNothing();
            in = null;
            return Action.BREAK;
        }
        if (Frame.total(buffer, at) != in.bytes()) {
            trouble = "sends " + Frame.total(buffer, at) + " bytes where " + in.bytes() + " were expected";
            return Action.BREAK;
        }
        if (Frame.offset(buffer, at) != in.position() || payload > in.remaining()) {
            trouble = "sent bytes " + Frame.offset(buffer, at) + " of its message where " + in.position()
                    + " were expected";
            return Action.BREAK;
        }
        in.copyIn(buffer.addressOffset() + at + Frame.BYTES, payload);
        if (in.remaining() == 0) {
            in = null;
            return Action.BREAK;
        }
        return Action.CONTINUE;
    }
}
