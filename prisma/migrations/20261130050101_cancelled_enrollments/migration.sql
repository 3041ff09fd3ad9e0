-- AlterEnum
ALTER TYPE "CampaignEnrollmentStatus" ADD VALUE 'CANCELLED';
